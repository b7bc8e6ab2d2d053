"""The parameters of everything that customers do besides buying, one class per concern."""

from typing import Annotated

from pydantic import Field

from features.settings import Strict

Share = Annotated[float, Field(ge=0, le=1)]
Chance = Annotated[float, Field(gt=0, lt=1)]
"""A probability whose log-odds are taken."""
Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]


class SellingConfig(Strict):
    """Where orders are placed, and what is taken off the list price."""

    store: Positive = 0.3
    """Share of orders placed in a store; the three are scaled to add up to 1."""
    web: Positive = 0.45
    """Share of orders placed on the web."""
    app: Positive = 0.25
    """Share of orders placed in the app."""
    habit_concentration: Positive = 2.0
    """Sum of the Dirichlet parameters of a customer's shares; smaller = firmer habits."""
    discounted_share: Chance = 0.25
    """Mean share of lines sold below list price."""
    deal_concentration: Positive = 3.0
    """Sum of the beta parameters of a customer's share; smaller = customers differ more."""
    night: Positive = 0.04
    """Share of what is done from 0 to 6 o'clock; the four are scaled to add up to 1."""
    morning: Positive = 0.26
    """Share of what is done from 6 to 12 o'clock."""
    afternoon: Positive = 0.3
    """Share of what is done from 12 to 18 o'clock."""
    evening: Positive = 0.4
    """Share of what is done from 18 to 24 o'clock."""
    daytime_concentration: Positive | None = None
    """Sum of the Dirichlet parameters of a customer's shares, such as 4; None = all hours alike."""


class PeopleConfig(Strict):
    """Who the customers say they are, where they live and with whom."""

    days_from_signup: AtLeastZero = 2.0
    """Mean time from opening the account to the first order, in days."""
    household_share: Share = 0.2
    """Share of customers who live with another customer, in pairs."""
    moves_per_year: AtLeastZero = 0.06
    """Rate at which a household moves to another region; its first move counts."""
    days_to_tell: Positive = 20.0
    """Mean time from a move to its record, and from a household to its record, in days."""
    devices: float = Field(default=1.6, ge=1, le=10)
    """Mean number of devices of a customer; one and a Poisson number more."""
    shared_device_share: Share = 0.5
    """Share of households in which the second customer uses the first device of the first."""


class CatalogueConfig(Strict):
    """How products change."""

    price_changes_per_year: AtLeastZero = 1.0
    """Rate of price changes of a product."""
    price_step_sd: AtLeastZero = 0.08
    """Standard deviation of a change, in log price."""


class EngagementConfig(Strict):
    """Visits, and what is done during them."""

    browsing_per_order: AtLeastZero = 0.8
    """Mean number of visits without a purpose, per order that the purchase rate promises."""
    browsing_shape: Positive = 1.5
    """Gamma shape of a customer's own factor on that rate, of mean 1; smaller = differ more."""
    visits_before_order: AtLeastZero = 1.0
    """Mean number of visits that lead up to an order."""
    days_before_order: Positive = 4.0
    """Mean time from such a visit to the order, in days."""
    fading_days: Positive = 15.0
    """Mean age of the visits after a dropout: the rate falls by ``exp(-x / fading_days)``."""
    interest_share: Share = 0.6
    """Share of views leading up to an order that are of a product in it."""
    views_per_visit: float = Field(default=1.8, ge=1)
    """Mean number of products viewed in a visit without a purchase; one and a Poisson number."""
    viewed_share: Share = 0.5
    """Share of the lines of an order that are viewed in its visit; the others go to the cart from a
    list."""
    search_share: Share = 0.3
    """Share of visits with a search."""
    cart_share: Share = 0.1
    """Share of products viewed without a purchase that are put into the cart."""
    cart_removed_share: Share = 0.4
    """Share of those that are taken out again."""
    checkout_share: Share = 0.3
    """Share of visits with a filled cart, but no purchase, that reach the checkout."""
    seconds_per_step: Positive = 40.0
    """Mean time from one step of a visit to the next, in seconds."""
    social_share: Share = 0.05
    """Share of visits without a purpose that are posts in social media."""
    support_share: Share = 0.04
    """Share of visits without a purpose that are to the help pages."""
    store_seen_share: Share = 0.3
    """Share of store orders of which the visit is seen, by a member card or the app."""


class ConsentConfig(Strict):
    """What customers allow when they open an account, and take back later."""

    email: Share = 0.75
    """Share allowing marketing by e-mail."""
    sms: Share = 0.25
    """Share allowing marketing by sms."""
    push: Share = 0.4
    """Share allowing marketing by push message."""
    analytics: Share = 0.97
    """Share allowing analytics, on every channel."""
    profiling: Share = 0.92
    """Share not objecting to profiling, on every channel."""
    revoked_per_year: AtLeastZero = 0.04
    """Hazard at which each thing allowed is taken back."""


class CampaignConfig(Strict):
    """Messages, and what comes of them."""

    every_days: float = Field(default=30.0, ge=1)
    """Time between campaigns, in days."""
    control_share: Chance = 0.2
    """Probability of being put into the control group, which gets no message."""
    delivered_share: Share = 0.97
    """Share of messages that arrive."""
    open_email: Chance = 0.3
    """Probability that an average, rested customer opens an e-mail."""
    open_sms: Chance = 0.6
    """The same for an sms."""
    open_push: Chance = 0.15
    """The same for a push message."""
    preference_sd: AtLeastZero = 1.0
    """Standard deviation of a customer's liking of each medium, in log-odds."""
    fatigue: AtLeastZero = 0.25
    """Log-odds of opening lost, and of unsubscribing gained, per message in fresh memory."""
    fatigue_days: Positive = 30.0
    """Mean time for which a message stays in memory, in days."""
    gone_log_odds: AtLeastZero = 2.0
    """Log-odds of opening and of reaching the goal lost with dropout."""
    click_share: Share = 0.2
    """Probability of a click on what was opened."""
    unsubscribe: Chance = 0.006
    """Probability that a rested customer unsubscribes from what was opened."""
    goal: Chance = 0.06
    """Probability that an average customer reaches the goal without a message."""
    goal_sd: AtLeastZero = 0.7
    """Standard deviation of that among customers, in log-odds."""
    effects: dict[str, float] = {"news": 0.1, "free shipping": 0.5, "10 % off": 0.8, "bundle": 0.3}
    """Offer, and the mean effect of its message on the goal, in log-odds; campaigns take turns."""
    effect_sd: AtLeastZero = 0.5
    """Standard deviation of the effect among customers, in log-odds; some are put off."""


class FeedbackConfig(Strict):
    """What orders are like, and what is said about them."""

    late_share: Share = 0.1
    """Share of online orders that are delivered late."""
    late_effect: float = 1.2
    """Satisfaction lost by a late delivery, in standard deviations of an order's own part."""
    return_effect: float = 0.8
    """Satisfaction lost where something was sent back."""
    mood_sd: AtLeastZero = 0.7
    """Standard deviation of the customers' own satisfaction."""
    mood_dropout: float = Field(default=0.4, ge=-1, le=1)
    """Correlation of that with a long life as a customer."""
    star_cuts: tuple[float, float, float, float] = (-1.9, -1.3, -0.6, 0.3)
    """Satisfaction from which on two, three, four and five stars are given."""
    review_shares: tuple[Share, Share, Share, Share, Share] = (0.12, 0.06, 0.04, 0.06, 0.1)
    """Probability of a review of an order worth one, two, ... five stars."""
    ticket: Chance = 0.03
    """Probability of a ticket about an order of satisfaction 0."""
    ticket_slope: AtLeastZero = 1.0
    """Log-odds of a ticket gained per unit of satisfaction lost."""
    hours_to_reply: Positive = 10.0
    """Median time from a ticket to the reply."""
    hours_to_resolve: Positive = 24.0
    """Median time from the reply to the end."""
    time_spread: Positive = 1.0
    """Standard deviation of both times, in logs."""
    resolved_share: Share = 0.85
    """Share of tickets that are resolved."""
    reopened_share: Share = 0.08
    """Share of those that are opened again."""
    csat_share: Share = 0.35
    """Share of resolved tickets with an answer to the survey."""
    nps_every_days: float = Field(default=180.0, ge=1)
    """Time between surveys of a customer, in days; the first one after as long."""
    nps_share: Share = 0.25
    """Share of surveys answered by those who have not dropped out."""
    nps_gone_share: Share = 0.05
    """Share of surveys answered by those who have."""
    nps_mean: float = 7.6
    """Mean of the points, before they are rounded and cut to 0 ... 10."""
    nps_mood: AtLeastZero = 1.8
    """Points per unit of the customer's own satisfaction."""
    nps_sd: Positive = 1.2
    """Standard deviation of a single answer, in points."""


class LoyaltyConfig(Strict):
    """Membership, points and tiers."""

    member_share: Share = 0.5
    """Share of customers who join."""
    days_to_join: Positive = 30.0
    """Mean time from the first order to joining, in days."""
    points_per_currency: Positive = 1.0
    """Points earned per unit of currency spent."""
    burn_share: Share = 0.15
    """Share of orders at which all points are spent."""
    expiry_days: float = Field(default=365.0, ge=1)
    """Points are lost this long after the last order, in days."""
    silver_points: float = Field(default=300.0, gt=0)
    """Points ever earned for the tier above bronze."""
    gold_points: float = Field(default=900.0, gt=0)
    """Points ever earned for the highest tier."""


class SubscriptionConfig(Strict):
    """Plans, their payments and their end."""

    subscriber_share: Share = 0.25
    """Share of customers who would take a plan, if they stay long enough."""
    days_to_start: Positive = 60.0
    """Mean time from the first order to the plan, in days."""
    term_days: int = Field(default=30, ge=1)
    """Length of a term, in days."""
    cancel_alpha: Positive = 0.8
    """First beta parameter of the probability of cancelling at the end of a term."""
    cancel_beta: Positive = 8.0
    """Second beta parameter; the mean probability is alpha / (alpha + beta)."""
    dropout_correlation: float = Field(default=0.4, ge=-1, le=1)
    """Correlation of that probability with the dropout rate, between normal scores."""
    failed_share: Share = 0.04
    """Share of payments that fail at first and are taken three days later."""
    change_share: Share = 0.03
    """Probability of another plan from a term on."""
    days_to_know: Positive = 20.0
    """Mean time until the outcome of a term is known, in days; one day at least."""


class FraudConfig(Strict):
    """Orders by people who are no customers."""

    share: float = Field(default=0.0, ge=0, le=0.2)
    """Expected share of all orders that are fraud, such as .005; 0 = none."""
    takeover_share: Share = 0.5
    """Share of those that are placed on taken-over accounts; all others test cards."""
    takeover_orders: float = Field(default=4.0, ge=1)
    """Mean number of orders of a takeover; one and a Poisson number more."""
    takeover_value: Positive = 5.0
    """Mean value of such an order, in mean orders of customers."""
    takeover_minutes: Positive = 8.0
    """Mean time between the orders of a takeover, in minutes."""
    test_orders: float = Field(default=12.0, ge=1)
    """Mean number of orders by which an account tests cards; one and a Poisson number more."""
    test_seconds: Positive = 30.0
    """Mean time between those, in seconds."""
    charged_back_share: Share = 0.8
    """Share of bursts that are noticed: their goods are booked back, the others stay sold."""
    days_to_charge_back: Positive = 20.0
    """Mean time from a burst to that, in days, beyond the first day."""


class AbuseConfig(Strict):
    """Customers who buy to use and send back."""

    share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of customers who abuse returns from some day on, such as .01; 0 = nobody."""
    wardrobing_share: Share = 0.6
    """Share of those who wear what is dear and send it back at the end of the window; all others
    order several things to keep one, and send the rest back at once."""
    order_share: Share = 0.8
    """Share of their orders, from that day on, of which something goes back in this way."""
    window_days: float = Field(default=30.0, ge=2)
    """Days for which goods may be sent back."""


class LeavingConfig(Strict):
    """Why customers drop out; the weights are scaled to add up to 1."""

    price: Positive = 0.25
    """Weight of prices with an average customer."""
    experience: Positive = 0.25
    """The same of bad experience."""
    competitor: Positive = 0.2
    """The same of somebody else's offer."""
    need: Positive = 0.2
    """The same of a need that is gone."""
    moved: Positive = 0.1
    """The same of having moved away."""
    price_slope: float = 0.8
    """Log weight of prices gained per standard deviation of a customer's share of discounts."""
    experience_slope: float = 0.8
    """Log weight of experience gained per standard deviation of mood lost."""
