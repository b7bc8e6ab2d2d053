"""The next action against counting by hand, and KPIs against plain sums."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tests.channel_worlds import row, world_of
from tests.features.sets.oracle import T, ago
from tests.worlds import line, tables, world
from training.lifecycle.actions import WEIGHT, Actions, Markov, _order
from training.lifecycle.config import ActionsConfig
from training.lifecycle.judge import Memory
from training.lifecycle.kpis import FEW, channel_funnel, kpi_table

NAMES = ("look", "put", "buy")


def actions(seed: int, customers: int = 300, length: int = 20) -> Actions:
    """Sequences in which the action depends on the last two alone."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(3, 0.3), (4, 4))
    made = np.zeros((customers, length), np.int64)
    for i in range(customers):
        before = (0, 0)
        for t in range(length):
            made[i, t] = 1 + rng.choice(3, p=p[before])
            before = (before[1], int(made[i, t]))
    day = np.tile(np.linspace(100, 1, length), customers)
    return Actions(NAMES, np.repeat(np.arange(customers), length), made.ravel(), day)


def test_probabilities_are_interpolated_counts() -> None:
    """Those of order two, counted with dictionaries, for contexts seen and never seen."""
    seen = actions(1, 6, 7)
    taught = seen.day > 40
    found = Markov.counted(seen, taught, 2).probabilities(seen, ~taught)
    assert found.sum(axis=1) == pytest.approx(1.0)
    counts: list[Counter[tuple[int, ...]]] = [Counter(), Counter(), Counter()]
    rows = list(zip(seen.customer.tolist(), seen.action.tolist(), taught.tolist(), strict=True))

    def before(i: int) -> tuple[int, int]:
        said = [rows[i - k][1] if i >= k and rows[i - k][0] == rows[i][0] else 0 for k in (2, 1)]
        return said[0], said[1]

    for i, (_, action, teaches) in enumerate(rows):
        if teaches:
            two = before(i)
            for k in range(3):
                counts[k][(*two[2 - k :], action)] += 1
    expected = []
    for i, (_, _, teaches) in enumerate(rows):
        if teaches:
            continue
        total = sum(counts[0].values()) + 3.0
        p = np.array([(counts[0][(a,)] + 1) / total for a in (1, 2, 3)])
        for k in (1, 2):
            own = np.array([counts[k][(*before(i)[2 - k :], a)] for a in (1, 2, 3)])
            p = (own + WEIGHT * p) / (own.sum() + WEIGHT)
        expected.append(p)
    assert found == pytest.approx(np.array(expected))


def test_the_order_of_the_process_is_chosen() -> None:
    """Of a process that remembers two actions, two; more only costs."""
    seen = actions(2)
    late, mid = seen.day <= 20, seen.day <= 40
    blocks = {"taught": ~mid, "chosen on": mid & ~late, "test": late}
    order, tried = _order(seen, blocks, ActionsConfig())
    assert order == 2
    assert tried.set_index("order")["loglik"].idxmax() == 2


def test_memory_is_a_table_of_shares() -> None:
    """What follows a context is counted; what is unknown adds nothing to a likelihood."""
    context = np.array([[0, 1, 1, 0], [-1, 0, 0, 1]])
    levels = np.array([[0, 1, 1, 0], [-1, 0, 1, 1]])[..., None]
    memory = Memory.learned(context, levels, (2,), 1.0)
    assert memory.tables[0] == pytest.approx(np.array([[1, 4], [2, 2]]) / [[5], [4]])
    loglik = memory.loglik(context, np.where(levels == 0, -1, levels))
    assert loglik[0] == pytest.approx([np.log(4 / 5), np.log(2 / 4), 0.0])
    assert memory.buying(context) == pytest.approx([4 / 5, 1 / 2])


@pytest.fixture(scope="module")
def told() -> tuple[pd.DataFrame, pd.DataFrame]:
    """KPIs and the funnel of 25 customers who do much, 24 who do little, and 3 of a kind."""
    lines, events, contacts, responses, feedback = [], [], [], [], []
    for k in range(1, 26):
        lines += [line(k, ago(days), f"{k}-{days}", 2_000) for days in (10, 40, 100)]
        steps = ("visit", "view", "cart_add", "checkout", "purchase")
        for n, kind in enumerate(steps[: 5 if k <= 10 else 4]):
            events.append(row("events", k, ago(10 - n / 100), kind=kind, session_id=f"s{k}",
                              channel="web"))  # fmt: skip
        contacts.append(row("contacts", k, ago(20), contact_id=f"m{k}", channel="email"))
        kinds = ("delivered", "opened", "clicked")[: 3 if k <= 5 else 1]
        responses += [row("responses", k, ago(19), contact_id=f"m{k}", kind=kind) for kind in kinds]
        feedback.append(row("feedback", k, ago(5), kind="nps", score=10.0 if k <= 15 else 3.0,
                            channel="email"))  # fmt: skip
    lines += [line(k, ago(100), f"{k}-100", 1_000) for k in range(26, 53)]
    derived = [row("derived", 1, ago(30), name="clv", value=900.0, known_time=ago(-1))]
    derived += [row("derived", k, ago(days), name="clv", value=value)
                for k in range(1, 26) for days, value in ((60, 10.0), (40, 100.0 + k))]  # fmt: skip
    rows = world_of(
        derived=derived, events=events, contacts=contacts, responses=responses, feedback=feedback
    )
    opened = tables({"order_lines": world(lines), **rows})
    kinds = pd.Series({k: "much" if k < 26 else "little" if k < 50 else "few"
                       for k in range(1, 53)})  # fmt: skip
    try:
        view = opened.asof([T])
        table = kpi_table(view, 90, {"kind": kinds})
        return table, channel_funnel(view, 90)
    finally:
        opened.backend.disconnect()


def test_kpis_are_sums_over_sums(told: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """By group and channel, worked by hand."""
    found = told[0].set_index(["kpi", "group", "channel"])["value"]
    for key, value in {
        ("frequency", "much", "all"): 2.0, ("order_value", "much", "all"): 20.0,
        ("repurchase", "much", "all"): 1.0, ("retention", "much", "all"): 1.0,
        ("retention", "little", "all"): 0.0, ("churn", "little", "all"): 1.0,
        ("conversion", "much", "web"): 10 / 25, ("checkout_drop_off", "much", "web"): 15 / 25,
        ("usage", "much", "all"): 1.0, ("reach", "much", "email"): 1.0,
        ("click_through", "much", "email"): 5 / 25, ("response", "much", "email"): 0.0,
        ("nps", "much", "all"): 100 * (15 - 10) / 25, ("clv", "much", "all"): 113.0,
        ("dau_mau", "much", "all"): 1 / 30,
    }.items():  # fmt: skip
        assert found[key] == pytest.approx(value), key


def test_what_cannot_be_told_says_why(told: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Of few customers nothing; of tables that are not there the reason; no silent gap."""
    table = told[0]
    assert (table.loc[table["group"] == "few", "note"] == FEW).all()
    assert table.loc[table["group"] == "few", ["value", "base", "customers"]].isna().all(axis=None)
    assert (table["customers"].dropna() >= 20).all()
    why = table.set_index("kpi")["note"]
    assert why["membership"] == "the source brings no loyalty"
    assert why["referral"] == "the source brings no relations"
    assert why["csat"] == "nothing in the 90 days"


def test_sessions_drop_out_at_a_step(told: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Ten of 25 sessions come through; the others stop at the checkout."""
    funnel = told[1].set_index("step")
    assert funnel["sessions"].tolist() == [25, 25, 25, 25, 10]
    assert funnel.loc["checkout", "dropped"] == pytest.approx(15 / 25)
    assert funnel.loc["purchase", "conversion"] == pytest.approx(10 / 25)
