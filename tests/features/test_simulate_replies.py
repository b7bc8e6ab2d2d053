"""Campaigns, feedback, points and plans: every process gives back the parameters it has."""

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from features.simulate import World, draw_world
from features.simulate.campaigns import KINDS, Campaigns, draw_campaigns
from features.simulate.consents import MEDIA
from features.simulate.draws import days_of
from features.simulate.feedback import Feedback, draw_feedback
from features.simulate.loyalty import draw_loyalty
from features.simulate.people import People, stays_until
from features.simulate.subscriptions import PLANS, Subscriptions, draw_subscriptions
from tests.features.simulated import CONFIG, drawn_people, drawn_world, fits


@pytest.fixture(scope="module")
def world() -> World:
    """Customers and orders."""
    return drawn_world()


@pytest.fixture(scope="module")
def people() -> People:
    """Accounts, households, devices, places."""
    return drawn_people()


@pytest.fixture(scope="module")
def campaigns(world: World, people: People) -> Campaigns:
    """Messages and what came of them."""
    return draw_campaigns(world, people)


@pytest.fixture(scope="module")
def feedback(world: World, people: People) -> Feedback:
    """Experience of orders and what was said."""
    return draw_feedback(world, people)


@pytest.fixture(scope="module")
def plans(world: World, people: People) -> Subscriptions:
    """Contracts."""
    return draw_subscriptions(world, people)


# --- campaigns and consents -----------------------------------------------------------------------


def test_control_group_is_drawn_at_random(campaigns):
    """Arms have their probability, whatever the customer is like."""
    contacts, share = campaigns.contacts, CONFIG.campaigns.control_share
    control = contacts["arm"] == "control"
    assert fits(control.sum(), np.full(len(contacts), share))
    assert set(contacts.loc[control, "assignment_probability"]) == {share}
    assert set(contacts.loc[~control, "assignment_probability"]) == {1 - share}
    assert stats.ks_2samp(
        contacts.loc[control, "p_control"], contacts.loc[~control, "p_control"]
    ).pvalue > 1e-3  # fmt: skip
    never = contacts.loc[control, [kind for kind in KINDS if kind != "converted"]]
    assert never.isna().all(axis=None)
    assert (contacts.loc[control, "cost_cents"] == 0).all()


def test_opens_are_those_of_their_probabilities(campaigns):
    """Calibrated over all, by medium, and by fifths of fatigue; tired customers open less."""
    contacts, config = campaigns.contacts, CONFIG.campaigns
    sent = contacts.loc[contacts["delivered"].notna()]
    treated = contacts["arm"] == "message"
    assert fits(len(sent), np.full(treated.sum(), config.delivered_share))
    groups = [sent, *(sent.loc[sent["channel"] == medium] for medium in MEDIA)]
    order = np.argsort(sent["fatigue"].to_numpy())
    groups += [sent.iloc[part] for part in np.array_split(order, 5)]
    for group in groups:
        assert fits(group["opened"].notna().sum(), group["p_open"].to_numpy())
    opened = sent.loc[sent["opened"].notna()]
    assert fits(opened["clicked"].notna().sum(), np.full(len(opened), config.click_share))
    # Without differences between customers a fresh, living one opens as configured.
    latent = campaigns.customers["likes_e-mail"]
    assert latent.std() == pytest.approx(config.preference_sd, rel=0.05)
    fresh = sent.loc[(sent["fatigue"] < 0.05) & (sent["channel"] == "e-mail")]
    likes = latent.to_numpy()[fresh["customer"]]
    odds = np.log(fresh["p_open"] / (1 - fresh["p_open"])) - likes
    assert odds.max() == pytest.approx(special.logit(config.open_email), abs=0.02)


def test_effects_are_those_of_the_potential_outcomes(campaigns):
    """Goals by arm, and their difference by offer, are what the truth says; some are put off."""
    contacts = campaigns.contacts
    reached_goal = contacts["converted"].notna()
    control = contacts["arm"] == "control"
    assert fits(reached_goal[control].sum(), contacts.loc[control, "p_control"].to_numpy())
    assert fits(reached_goal[~control].sum(), contacts.loc[~control, "p_treated"].to_numpy())
    would = contacts["goal_treated"].where(~control, contacts["goal_control"])
    assert (reached_goal == would).all()
    effect = contacts["p_treated"] - contacts["p_control"]
    found = reached_goal[~control].mean() - reached_goal[control].mean()
    spread = np.sqrt(0.1 / control.sum() + 0.1 / (~control).sum())
    assert abs(found - effect.mean()) < 4 * spread
    assert 0.02 < (effect < 0).mean() < 0.4
    for offer, mean in CONFIG.campaigns.effects.items():
        mine = campaigns.customers[f"effect_{offer}"]
        assert mine.mean() == pytest.approx(mean, abs=0.04)


def test_responses_belong_to_contacts_and_come_after_them(campaigns):
    """Every response has its contact; opened after delivered, clicked and left after opened."""
    contacts = campaigns.contacts.set_index("contact")
    responses = campaigns.responses.join(
        contacts[["customer", "happened", "arm"]], on="contact", suffixes=("", "_of_contact")
    )
    assert contacts.index.is_unique
    assert (responses["customer"] == responses["customer_of_contact"]).all()
    assert (responses["happened"] > responses["happened_of_contact"]).all()
    assert (responses["kind"].loc[responses["arm"] == "control"] == "converted").all()
    assert len(responses) == contacts[list(KINDS)].notna().to_numpy().sum()
    wide = responses.pivot_table("happened", "contact", "kind", observed=True)
    assert wide.loc[wide["opened"].notna(), "delivered"].notna().all()
    for later in ("clicked", "unsubscribed"):
        some = wide.loc[wide[later].notna()]
        assert (some[later] >= some["opened"]).all()


def test_nobody_is_written_to_without_consent(campaigns):
    """Each contact has a grant before it and no revocation between the two."""
    consents, contacts = campaigns.consents, campaigns.contacts
    marketing = consents.loc[consents["purpose"] == "marketing"]
    last = pd.merge_asof(
        contacts[["customer", "channel", "happened"]].sort_values("happened"),
        marketing[["customer", "channel", "happened", "granted"]].sort_values("happened"),
        on="happened", by=["customer", "channel"],
    )  # fmt: skip
    # The campaign's day is the one on which consent is looked up; messages leave a few hours later.
    assert (last["granted"] == "yes").mean() > 0.999
    assert last["granted"].notna().all()


def test_consents_have_their_shares_and_hazard(people, campaigns):
    """Grants by question, revocations by a constant hazard, and those who unsubscribe."""
    consents, config = campaigns.consents, CONFIG.consents
    first = consents.iloc[: 5 * CONFIG.customers]
    asked = [("marketing", "e-mail", config.email), ("marketing", "sms", config.sms),
             ("marketing", "push", config.push), ("analytics", None, config.analytics),
             ("profiling", None, config.profiling)]  # fmt: skip
    signup = people.frame["signup_day"].to_numpy()
    later = consents.iloc[5 * CONFIG.customers :]
    for purpose, channel, share in asked:
        mine = first.loc[first["purpose"] == purpose]
        mine = mine.loc[mine["channel"].isna() if channel is None else mine["channel"] == channel]
        assert len(mine) == CONFIG.customers
        granted = mine.loc[mine["granted"] == "yes"]
        assert fits(len(granted), np.full(len(mine), share))
        if channel is None:
            gone = -np.expm1(
                -config.revoked_per_year / 365.25 * (CONFIG.days - signup[granted["customer"]])
            )
            assert fits((later["purpose"] == purpose).sum(), gone)
    assert (later["granted"] == "no").all()
    left = campaigns.contacts["unsubscribed"].notna().sum()
    assert 0 < left < (later["purpose"] == "marketing").sum()


# --- feedback -------------------------------------------------------------------------------------


def test_satisfaction_follows_late_deliveries_and_returns(world, feedback):
    """The configured effects are those of a regression; late is late as often as configured."""
    orders = feedback.orders.assign(
        returned=(world.orders["returned"] != "none").to_numpy(),
        online=(world.orders["channel"] != "store").to_numpy(),
        customer=world.orders["customer"].to_numpy(),
    )
    config = CONFIG.feedback
    online = orders.loc[orders["online"]]
    assert fits(online["delivered_late"].sum(), np.full(len(online), config.late_share))
    assert not orders.loc[~orders["online"], "delivered_late"].any()
    own = orders.loc[orders["customer"] >= 0]
    assert orders.loc[orders["customer"] < 0, "satisfaction"].isna().all()
    mood = feedback.customers["mood"].to_numpy()
    y = own["satisfaction"] - mood[own["customer"]]
    x = np.column_stack([np.ones(len(own)), own["delivered_late"], own["returned"]]).astype(float)
    constant, late, returned = np.linalg.lstsq(x, y.to_numpy(), rcond=None)[0]
    assert constant == pytest.approx(0, abs=0.02)
    assert late == pytest.approx(-config.late_effect, abs=0.06)
    assert returned == pytest.approx(-config.return_effect, abs=0.06)


def test_mood_goes_with_staying(people, feedback):
    """Standard deviation and correlation of the customers' own satisfaction."""
    mood = feedback.customers["mood"]
    assert mood.std() == pytest.approx(CONFIG.feedback.mood_sd, rel=0.04)
    correlation = np.corrcoef(mood, people.frame["dropout_score"])[0, 1]
    assert correlation == pytest.approx(-CONFIG.feedback.mood_dropout, abs=0.04)


def test_reviews_are_written_by_the_angry_and_the_delighted(feedback):
    """Shares by stars, stars by cuts, and texts of the sentiment that the stars mean."""
    orders, config = feedback.orders, CONFIG.feedback
    reviews = feedback.rows.loc[feedback.rows["kind"] == "review"]
    own = orders.loc[orders["satisfaction"].notna()]
    for stars, share in enumerate(config.review_shares, start=1):
        worth = (own["stars"] == stars).sum()
        assert fits((reviews["score"] == stars).sum(), np.full(worth, share))
    cut = (own["satisfaction"].to_numpy()[:, None] > np.array(config.star_cuts)).sum(axis=1) + 1
    assert (cut == own["stars"]).all()
    assert reviews["text"].notna().all()
    bad = set(reviews.loc[reviews["score"] <= 2, "text"])
    assert bad.isdisjoint(reviews.loc[reviews["score"] >= 4, "text"])
    assert any(ord(sign) > 0x4E00 for text in bad for sign in text), "some are Chinese"


def test_tickets_come_from_dissatisfaction_and_form_threads(world, feedback):
    """Calibrated by fifths of satisfaction; threads open first, shares as configured."""
    config, rows = CONFIG.feedback, feedback.rows
    felt = feedback.orders["satisfaction"].dropna()
    odds = np.log(config.ticket / (1 - config.ticket)) - config.ticket_slope * felt
    probability = 1 / (1 + np.exp(-odds))
    opened = rows.loc[rows["kind"].isin(["ticket", "complaint"])]
    for part in np.array_split(np.argsort(felt.to_numpy()), 5):
        chosen = felt.index[part]
        assert fits(opened["order"].isin(chosen).sum(), probability.loc[chosen].to_numpy())
    assert opened["thread"].is_unique
    late = feedback.orders["delivered_late"].to_numpy()[opened["order"].astype(int)]
    assert ((opened["topic"] == "delivery").to_numpy() == late).all()
    counts = rows["kind"].value_counts()
    assert counts["reply"] == len(opened)
    assert fits(counts["resolved"], np.full(len(opened), config.resolved_share))
    assert fits(counts["csat"], np.full(counts["resolved"], config.csat_share))
    times = rows.dropna(subset="thread").pivot_table(
        "happened", "thread", "kind", aggfunc="min", observed=True
    )
    start = times["ticket"].fillna(times["complaint"])
    assert (times["reply"] >= start).all()
    for later, earlier in (("resolved", "reply"), ("reopened", "resolved"), ("csat", "resolved")):
        both = times[[later, earlier]].dropna()
        assert len(both) > 10
        assert (both[later] >= both[earlier]).all()
    hours = np.exp(np.log((times["reply"] - start).clip(lower=1) / 3600).mean())
    assert hours == pytest.approx(config.hours_to_reply, rel=0.1)


def test_survey_answers_have_the_configured_distribution(world, feedback):
    """NPS: mean, promoters less detractors, and fewer answers from those who have gone."""
    config = CONFIG.feedback
    answers = feedback.rows.loc[feedback.rows["kind"] == "nps"]
    mood = feedback.customers["mood"].to_numpy()
    mean = config.nps_mean + config.nps_mood * mood[answers["customer"]]
    points = np.arange(11)
    below = stats.norm.cdf((points[:-1] + 0.5 - mean[:, None]) / config.nps_sd)
    p = np.diff(below, axis=1, prepend=0.0, append=1.0)
    score = answers["score"].to_numpy(dtype=float)
    assert score.mean() == pytest.approx((p * points).sum(axis=1).mean(), abs=0.06)
    assert fits((score >= 9).sum(), p[:, 9:].sum(axis=1))
    assert fits((score <= 6).sum(), p[:, :7].sum(axis=1))
    acquired = days_of(CONFIG, world.customers["acquired_at"].to_numpy())
    day = acquired[:, None] + config.nps_every_days * np.arange(1, 6)
    within, stays = day < CONFIG.days, day < stays_until(world)[:, None]
    share = np.where(stays, config.nps_share, config.nps_gone_share)[within]
    assert fits(len(answers), share)


# --- loyalty and plans ----------------------------------------------------------------------------


def test_points_add_up_and_tiers_rise(world):
    """No balance below 0; burns and expiries take all; tiers by points ever earned."""
    rows, config = draw_loyalty(world), CONFIG.loyalty
    joins = rows.loc[rows["kind"] == "join"].set_index("customer")["happened"]
    assert joins.index.is_unique
    assert (rows["happened"].to_numpy() >= joins.loc[rows["customer"]].to_numpy()).all()
    moved = rows.loc[rows["kind"].isin(["earn", "burn", "expire"])]
    moved = moved.sort_values(["customer", "happened"], kind="stable")
    points = moved["points"].astype(int)
    signed = points.where(moved["kind"] == "earn", -points)
    balance = signed.groupby(moved["customer"]).cumsum()
    assert balance.min() >= 0
    assert (balance[moved["kind"] != "earn"] == 0).all()
    earned = moved.loc[moved["kind"] == "earn"]
    burns = (rows["kind"] == "burn").sum()
    assert fits(burns, np.full(len(earned), config.burn_share))
    assert (rows["kind"] == "expire").sum() > 20
    tiers = rows.loc[rows["kind"] == "tier"]
    ever = earned.groupby("customer")["points"].sum()
    silver = set(ever.index[ever >= config.silver_points])
    assert set(tiers["customer"]) == silver
    gold = set(ever.index[ever >= config.gold_points])
    assert set(tiers.loc[tiers["tier"] == "gold", "customer"]) == gold


def test_cancellation_has_the_hazard_of_the_beta_geometric(plans):
    """Of the contracts in term t a share alpha / (alpha + beta + t - 1) ends."""
    config, contracts = CONFIG.subscriptions, plans.contracts
    # Plans are taken before the dropout: those who take one are a little less likely to leave.
    alpha, beta = config.cancel_alpha, config.cancel_beta
    ended = (CONFIG.days - contracts["start_day"]) / config.term_days
    for term in (1, 2, 3, 6, 12):
        risk = contracts.loc[(ended > term) & (contracts["terms"] >= term)]
        assert fits((risk["terms"] == term).sum(), risk["cancel_probability"].to_numpy())
        hazard = alpha / (alpha + beta + term - 1)
        assert (risk["terms"] == term).mean() == pytest.approx(hazard, abs=0.035)


def test_cancellation_is_beta_distributed_where_nothing_selects(people):
    """Without correlation who stays long enough says nothing: the margin is the configured one."""
    free = CONFIG.subscriptions.model_copy(update={"dropout_correlation": 0.0})
    config = CONFIG.model_copy(update={"subscriptions": free})
    drawn = draw_world(config)
    theta = draw_subscriptions(drawn, people).contracts["cancel_probability"]
    assert stats.kstest(theta, stats.beta(free.cancel_alpha, free.cancel_beta).cdf).pvalue > 1e-3


def test_leaving_the_shop_and_the_plan_go_together(people, plans):
    """The rank correlation has the sign and about the size of the copula's."""
    score = people.frame["dropout_score"].to_numpy()[plans.contracts["customer"]]
    found = stats.spearmanr(score, plans.contracts["cancel_probability"]).statistic
    assert 0.2 < found < CONFIG.subscriptions.dropout_correlation + 0.05


def test_payments_and_ends_of_contracts(plans):
    """One payment a term; failures and changes as configured; ends where the truth has them."""
    config, rows, contracts = CONFIG.subscriptions, plans.subscriptions, plans.contracts
    counts = rows["kind"].value_counts()
    assert counts["start"] == len(contracts)
    assert fits(counts["payment_failed"], np.full(counts["pay"], config.failed_share))
    later_terms = counts["pay"] - counts["start"]
    assert fits(counts["change"], np.full(later_terms, config.change_share))
    end = contracts["start_day"] + contracts["terms"] * config.term_days
    assert set(rows.loc[rows["kind"] == "cancel", "subscription"]) == set(
        contracts.loc[end < CONFIG.days, "subscription"]
    )
    pays = rows.loc[rows["kind"] == "pay"].groupby("subscription").size()
    assert (pays.to_numpy() <= contracts.set_index("subscription").loc[pays.index, "terms"]).all()
    assert set(rows["price_cents"].dropna()) == {cents for _, cents in PLANS}


def test_outcomes_are_the_ends_and_known_later(plans):
    """1 where a term ended in a cancellation, 0 where it did not; a mean delay as configured."""
    outcomes = plans.outcomes
    cancels = (plans.subscriptions["kind"] == "cancel").sum()
    assert outcomes["value"].sum() == cancels
    ones = outcomes.loc[outcomes["value"] == 1]
    assert ones["customer"].is_unique
    assert outcomes["delay_days"].min() >= 1
    assert outcomes["delay_days"].mean() == pytest.approx(
        CONFIG.subscriptions.days_to_know, rel=0.05
    )
