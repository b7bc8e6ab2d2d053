"""Every task keeps the contract, and the contract catches those that would not."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import training.tasks
from features import columns as c
from features.orders import orders_of_window
from features.views import View
from tests.contracts import tasks as contract
from tests.worlds import BEGAN, DAY, worlds
from training.contract import LABEL
from training.tasks.churn import Churn, ChurnConfig

FOUND = contract.discover()
VARIANTS = [(use, task) for use in FOUND for task in contract.variants(use)]


@pytest.mark.parametrize("check", contract.CHECKS)
@pytest.mark.parametrize(
    "task", [task for _, task in VARIANTS], ids=[f"{u}-{n}" for n, (u, _) in enumerate(VARIANTS)]
)
def test_task_keeps_contract(task: Any, check: str) -> None:
    """A task found in ``training/tasks`` keeps the promise that ``check`` is about."""
    contract.CHECKS[check](task)


def test_every_file_is_found() -> None:
    """Each file in ``training/tasks`` has a task under contract, or a family that tests it."""
    folder = Path(training.tasks.__path__[0])
    files = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")}
    assert files - {use.split(".")[0] for use in FOUND} <= {"segments", "recommend", "lifecycle"}
    assert {"churn.Churn", "event.Event", "amount.Amount", "outcome.Outcome"} <= set(FOUND)


@settings(max_examples=15)
@given(table=worlds(), days=st.integers(20, 500), horizon=st.integers(1, 200))
def test_churn_is_what_a_loop_over_orders_says(table: Any, days: int, horizon: int) -> None:
    """Over any small world, spine and label are those of a plain reading of the rows."""
    cutoff = BEGAN + days * DAY
    end = cutoff + horizon * DAY
    task = Churn(ChurnConfig(horizon_days=horizon, active_within_days=90))
    rows = table.to_pylist()
    kept_before = _kept([r for r in rows if max(r[c.EVENT_TIME], r[c.KNOWN_TIME]) < cutoff])
    window = [r for r in rows if cutoff <= r[c.EVENT_TIME] < end and r[c.KNOWN_TIME] < end]
    buyers = {customer for customer, _ in _kept(window)}
    active = {customer for customer, when in kept_before if when >= cutoff - 90 * DAY}
    expected = {(cutoff, customer): float(customer not in buyers) for customer in active}
    assert contract.labels(task, table, [cutoff]) == expected


def _kept(rows: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    """Customer and time of each order of which something was kept."""
    orders: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows:
        orders.setdefault((row[c.CUSTOMER], row[c.ORDER_REF]), []).append(row)
    found = []
    for (customer, _), lines in orders.items():
        sold = [r[c.EVENT_TIME] for r in lines if not r[c.IS_RETURN]]
        if sold and sum(r[c.AMOUNT] for r in lines) > 0:
            found.append((customer, min(sold)))
    return found


class _OfDefaults(Churn):
    """Churn with its defaults, to be spoiled."""

    __module__ = Churn.__module__

    def __init__(self) -> None:
        super().__init__(ChurnConfig())


def _all_lines(view: View) -> ir.Table:
    return view.order_lines.get_backend().table("order_lines")


class _Clairvoyant(_OfDefaults):
    """Asks about customers of the whole table."""

    def spine(self, view: View) -> ir.Table:
        lines = _all_lines(view)
        return view.customers.semi_join(lines.filter(~lines[c.IS_RETURN]), c.CUSTOMER).union(
            lines.select(c.CUSTOMER).distinct().cross_join(view.customers.select(c.CUTOFF))
            .select(c.CUSTOMER, c.CUTOFF),
            distinct=True,
        )  # fmt: skip


class _Gross(_OfDefaults):
    """Counts orders whatever was taken back of them."""

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        sold = following.order_lines.filter(~following.order_lines[c.IS_RETURN])
        return _unless(spine, sold.select(c.CUSTOMER, c.CUTOFF))


class _AnyRow(_OfDefaults):
    """Takes a return for a purchase."""

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        return _unless(spine, following.order_lines.select(c.CUSTOMER, c.CUTOFF))


class _Window(_OfDefaults):
    """Looks for orders itself, in a window whose edges and clock are wrong."""

    def __init__(self, begin: timedelta, more: timedelta, clock: str = c.EVENT_TIME) -> None:
        super().__init__()
        self.begin, self.more, self.clock = begin, more, clock

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        lines = _all_lines(following)
        begin, end = _interval(self.begin), _interval(self.horizon_days * DAY + self.more)
        asked = spine.rename(asked=c.CUSTOMER)
        seen = asked.join(
            lines,
            [
                asked.asked == lines[c.CUSTOMER],
                lines[self.clock] >= asked[c.CUTOFF] + begin,
                lines[self.clock] < asked[c.CUTOFF] + end,
            ],
        )
        return _unless(spine, orders_of_window(seen).select(c.CUSTOMER, c.CUTOFF))


class _Timeless(_OfDefaults):
    """Mixes up the cutoffs."""

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        buyers = following.orders.select(c.CUSTOMER).distinct().mutate(bought=ibis.literal(True))
        joined = spine.left_join(buyers, c.CUSTOMER)
        label = joined.bought.isnull().cast("float64")
        return joined.select(c.CUSTOMER, c.CUTOFF, **{LABEL: label})


class _Lossy(_OfDefaults):
    """Labels those alone who bought."""

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        found = super().label(spine, following)
        return found.filter(found[LABEL] == 0.0)


class _Hazy(_OfDefaults):
    """Leaves a label missing."""

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        found = super().label(spine, following)
        return found.mutate(**{LABEL: found[LABEL].nullif(1.0)})


class _Doubled(_OfDefaults):
    """Counts an event twice."""

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        found = super().label(spine, following)
        return found.mutate(**{LABEL: found[LABEL] * 2.0})


class _Vague(_OfDefaults):
    """Does not say over which time it asks."""

    def __init__(self) -> None:
        super().__init__()
        self.question = "Will they leave?"


class _Careless(_OfDefaults):
    """Slices by a column that may not be there."""

    def slices(self, X: Any) -> Any:
        return {"new": X["rfm__T_days"].to_numpy() < 90}


def _interval(length: timedelta) -> ir.IntervalValue:
    return ibis.interval(microseconds=length // contract.TICK)


def _unless(spine: ir.Table, buyers: ir.Table) -> ir.Table:
    joined = spine.left_join(
        buyers.distinct().mutate(bought=ibis.literal(True)), [c.CUSTOMER, c.CUTOFF]
    )
    label = joined.bought.isnull().cast("float64")
    return joined.select(c.CUSTOMER, c.CUTOFF, **{LABEL: label})


NOW, LATER = timedelta(0), timedelta(days=1)


@pytest.mark.parametrize(
    ("check", "task"),
    [
        ("spine_is_blind", _Clairvoyant()),
        ("spine_fits_the_view", _Clairvoyant()),
        ("taken_back_is_no_purchase", _Gross()),
        ("taken_back_is_no_purchase", _AnyRow()),
        ("window_is_half_open", _Window(contract.TICK, NOW)),
        ("window_is_half_open", _Window(-contract.TICK, NOW)),
        ("window_is_half_open", _Window(NOW, contract.TICK)),
        ("window_is_half_open", _Window(NOW, -LATER)),
        ("known_by_maturity", _Window(NOW, NOW)),
        ("known_by_maturity", _Window(NOW, NOW, c.KNOWN_TIME)),
        ("later_rows_change_no_label", _Window(NOW, 300 * LATER)),
        ("one_pass", _Timeless()),
        ("spine_fits_the_view", _Lossy()),
        ("labels_are_numbers", _Hazy()),
        ("labels_are_numbers", _Lossy()),
        ("perfect_and_constant", _Doubled()),
        ("declares", _Vague()),
        ("slices_are_groups", _Careless()),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_contract_catches(check: str, task: Any) -> None:
    """A task that breaks one promise fails the check of that promise."""
    with pytest.raises((AssertionError, KeyError)):
        contract.CHECKS[check](task)


def test_own_window_is_the_honest_one() -> None:
    """The spoiled windows above differ from a right one in nothing but their edges."""
    task = _Window(NOW, NOW)
    for check in ("window_is_half_open", "taken_back_is_no_purchase", "one_pass"):
        contract.CHECKS[check](task)
