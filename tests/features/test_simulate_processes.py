"""What simulated customers are like and do: every process gives back the parameters it has."""

import numpy as np
import pytest
from scipy import stats

from features.simulate import World
from features.simulate.catalogue import draw_catalogue
from features.simulate.draws import days_of, reached
from features.simulate.engagement import Engagement, draw_engagement
from features.simulate.misuse import draw_misuse
from features.simulate.people import ACQUISITION, People, stays_until
from tests.features.simulated import CONFIG, DAY, drawn_people, drawn_world, fits, placed_days


@pytest.fixture(scope="module")
def world() -> World:
    """Customers and orders."""
    return drawn_world()


@pytest.fixture(scope="module")
def people() -> People:
    """Accounts, households, devices, places."""
    return drawn_people()


@pytest.fixture(scope="module")
def engagement(world: World, people: People) -> Engagement:
    """Visits and their steps."""
    return draw_engagement(world, people, draw_misuse(world))


# --- orders ---------------------------------------------------------------------------------------


def test_channels_have_the_configured_shares_and_habits(world):
    """Dirichlet shares: mean and variance of each customer's own, and orders that follow them."""
    selling = CONFIG.selling
    total = selling.store + selling.web + selling.app
    own = world.orders.loc[world.orders["customer"] >= 0]
    for name, share in (("store", selling.store), ("web", selling.web), ("app", selling.app)):
        p, mine = share / total, world.customers[f"share_{name}"].to_numpy()
        assert mine.mean() == pytest.approx(p, abs=0.02)
        assert mine.var() == pytest.approx(p * (1 - p) / (selling.habit_concentration + 1), rel=0.1)
        assert fits((own["channel"] == name).sum(), mine[own["customer"]])


def test_lines_are_discounted_as_often_as_their_customers_like(world):
    """Discounts come with each customer's own probability, at the listed sizes."""
    sold = world.lines.loc[world.lines["return_no"].isna()]
    customer = world.orders["customer"].to_numpy()[sold["order"]]
    mine = sold.loc[(customer >= 0) & (sold["unit_cents"] > 500)]
    probability = world.customers["deal_share"].to_numpy()[
        world.orders["customer"].to_numpy()[mine["order"]]
    ]
    reduced = mine["discount_cents"] > 0
    assert fits(reduced.sum(), probability)
    rate = mine["discount_cents"] / (mine["discount_cents"] + mine["unit_cents"])
    assert set(rate[reduced].round(2)) == {0.1, 0.2, 0.3, 0.5}


def test_list_prices_walk(world):
    """Price changes come at the configured rate, with steps of the configured size."""
    rows = draw_catalogue(world)
    changes = len(rows) - len(world.products)
    expected = len(world.products) * CONFIG.catalogue.price_changes_per_year * CONFIG.days / 365.25
    assert abs(changes - expected) < 4 * np.sqrt(expected)
    assert (rows.groupby("product")["happened"].min() == 0).all()
    ordered = rows.sort_values(["product", "happened"], kind="stable")
    prices = ordered.loc[ordered["price_cents"] > 500]
    step = np.log(prices["price_cents"]).groupby(prices["product"]).diff().dropna()
    assert step.std() == pytest.approx(CONFIG.catalogue.price_step_sd, rel=0.15)
    first = ordered.groupby("product")["price_cents"].first()
    assert (first.to_numpy() == world.products["list_cents"].to_numpy()).all()


# --- people ---------------------------------------------------------------------------------------


def test_acquisition_is_a_logit_of_the_dropout_score(people):
    """Channels are as frequent as their probabilities; scores are standard normal."""
    score = people.frame["dropout_score"].to_numpy()
    assert stats.kstest(score, "norm").pvalue > 1e-3
    share, slope = (np.array([channel[k] for channel in ACQUISITION]) for k in (1, 2))
    odds = share * np.exp(slope * score[:, None])
    probability = odds / odds.sum(axis=1, keepdims=True)
    for k, (name, *_) in enumerate(ACQUISITION):
        assert fits((people.frame["acquisition_channel"] == name).sum(), probability[:, k])


def test_households_live_together_and_referrers_came_first(world, people):
    """Partners are each other's; who refers was a customer before."""
    frame = people.frame
    paired = frame.loc[frame["partner"] >= 0]
    assert len(paired) == pytest.approx(CONFIG.people.household_share * len(frame), abs=2)
    other = frame.loc[paired["partner"]]
    assert (other["partner"].to_numpy() == paired.index.to_numpy()).all()
    assert (other["region"].to_numpy() == paired["region"].to_numpy()).all()
    referred = frame.loc[frame["referrer"] >= 0]
    acquired = world.customers["acquired_at"]
    assert (referred["acquisition_channel"] == "referral").all()
    first = acquired.to_numpy()[referred["referrer"]]
    assert (first <= acquired.to_numpy()[referred.index]).all()
    relations = people.rows["relations"]
    assert relations["kind"].value_counts().to_dict() == {
        "household": len(paired) // 2, "referral": len(referred),
    }  # fmt: skip


def test_accounts_move_and_devices_are_shared(people):
    """Moves come at their rate; lent devices have two users."""
    frame, rows = people.frame, people.rows
    accounts = rows["customers"]
    moved = frame["moved_day"].notna()
    exposed = CONFIG.days - frame["signup_day"]
    rate = CONFIG.people.moves_per_year / 365.25
    # Whoever signs up has lived through the time before without a move that counts.
    expected = np.exp(-rate * frame["signup_day"]) * -np.expm1(-rate * exposed)
    assert abs(moved.sum() - expected.sum()) < 6 * np.sqrt(expected.sum())
    assert len(accounts) == len(frame) + moved.sum()
    later = accounts.iloc[len(frame) :]
    assert (later["region"].to_numpy() != frame.loc[moved, "region"].to_numpy()).all()
    users = rows["devices"].groupby("device")["customer"].nunique()
    assert users.max() == 2
    pairs = (frame["partner"] >= 0).sum() / 2
    assert (users == 2).sum() == pytest.approx(CONFIG.people.shared_device_share * pairs, rel=0.2)
    homes = rows["locations"].loc[rows["locations"]["kind"] == "home"]
    assert len(homes) == len(accounts)


# --- visits ---------------------------------------------------------------------------------------


def test_browsing_follows_the_rates_and_ends_with_dropout(world, people, engagement):
    """Visits without a purpose: Poisson before the dropout, fading after it."""
    rate = engagement.customers["browsing_rate_per_day"].to_numpy()
    visits = engagement.visits.loc[engagement.visits["purpose"] == "browsing"]
    customer, day = visits["customer"].to_numpy(), visits["day"].to_numpy()
    acquired = days_of(CONFIG, world.customers["acquired_at"].to_numpy())
    until, total = stays_until(world), reached(CONFIG)
    midnights = np.arange(CONFIG.days + 1.0)
    expected = rate * (np.interp(until, midnights, total) - np.interp(acquired, midnights, total))
    before = day < until[customer]
    assert abs(before.sum() - expected.sum()) < 4 * np.sqrt(expected.sum())
    assert (day >= acquired[customer] - 1e-9).all()
    fading = CONFIG.engagement.fading_days
    left = rate * fading * -np.expm1(-(CONFIG.days - until) / fading)
    assert abs((~before).sum() - left.sum()) < 4 * np.sqrt(left.sum())
    early = (until < CONFIG.days - 120)[customer] & ~before
    age = (day - until[customer])[early]
    assert age.mean() == pytest.approx(fading, abs=4 * fading / np.sqrt(len(age)))
    # More visits where more is bought.
    found = np.bincount(customer, minlength=CONFIG.customers)
    assert stats.spearmanr(found, world.customers["orders"]).statistic > 0.4


def test_visits_rise_before_orders(world, engagement):
    """Leading visits: as many an order, and as early, as configured; the rate rises towards it."""
    visits, placed = engagement.visits, placed_days(world)
    leading = visits.loc[visits["purpose"] == "before order"]
    repeats = world.orders["customer"].duplicated() & (world.orders["customer"] >= 0)
    acquired = days_of(CONFIG, world.customers["acquired_at"].to_numpy())
    since = placed - acquired[world.orders["customer"]]
    late = np.flatnonzero(repeats & (since > 60))
    mine = leading.loc[leading["order"].isin(late)]
    expected = CONFIG.engagement.visits_before_order * len(late)
    assert abs(len(mine) - expected) < 4 * np.sqrt(expected)
    lag = placed[mine["order"]] - mine["day"]
    assert lag.mean() == pytest.approx(CONFIG.engagement.days_before_order, rel=0.05)
    assert lag.min() > 0
    near, far = ((lag < 2).sum() / 2, ((lag >= 8) & (lag < 16)).sum() / 8)
    assert near > 3 * far


def test_online_orders_end_a_visit(world, engagement):
    """Each online order is the last step of one session, at its time and by its customer."""
    bought = engagement.events.loc[engagement.events["kind"] == "purchase"]
    visits = engagement.visits.set_index("session").loc[bought["session"]]
    online = np.flatnonzero(world.orders["channel"] != "store")
    assert sorted(visits["order"]) == list(online)
    assert (visits["customer"].to_numpy() == bought["customer"].to_numpy()).all()
    second = np.floor(np.round(placed_days(world)[visits["order"]] * DAY, 3))
    assert (bought["happened"].to_numpy() == second).all()
    events = engagement.events
    assert (np.diff(events["happened"])[np.diff(events["session"]) == 0] >= 0).all()
    last = events.groupby("session")["kind"].last()
    assert (last.loc[bought["session"]] == "purchase").all()
    # What is bought was put into the cart in that visit.
    added = events.loc[(events["kind"] == "cart_add") & events["session"].isin(bought["session"])]
    sold = world.lines.loc[world.lines["return_no"].isna() & world.lines["order"].isin(online)]
    assert sorted(added["product"]) == sorted(sold["product"])


def test_steps_have_the_configured_shares(engagement):
    """Views per visit, searches, carts; a view lasts until the next step."""
    events, config = engagement.events, CONFIG.engagement
    online = events["channel"].isin(["web", "app"])
    visits = engagement.visits.set_index("session")
    looking = visits.index[visits["channel"].isin(["web", "app"]) & (visits["purpose"] != "buying")]
    inside = events.loc[events["session"].isin(looking)]
    kinds = inside["kind"].value_counts()
    assert kinds["view"] / len(looking) == pytest.approx(config.views_per_visit, rel=0.02)
    assert kinds["cart_add"] / kinds["view"] == pytest.approx(config.cart_share, rel=0.05)
    removed = kinds["cart_remove"] / kinds["cart_add"]
    assert removed == pytest.approx(config.cart_removed_share, rel=0.1)
    all_online = events.loc[online, "kind"].value_counts()
    searched = all_online["search"] / all_online["visit"]
    assert searched == pytest.approx(config.search_share, rel=0.03)
    dwell = events.loc[events["kind"] == "view", "duration_s"].dropna()
    assert dwell.mean() == pytest.approx(config.seconds_per_step + 0.5, rel=0.03)
    aside = visits.loc[visits["purpose"] == "browsing", "channel"].value_counts(normalize=True)
    assert aside["social"] == pytest.approx(config.social_share, rel=0.1)
    assert aside["support"] == pytest.approx(config.support_share, rel=0.15)
