"""Every feature set keeps the contract, and the contract catches those that would not."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.sets
from features import columns as c
from features.schema import FeatureColumn
from features.settings import Strict
from features.views import View, days_between
from tests.contracts import feature_sets as contract
from tests.worlds import BEGAN, DAY, as_bytes, computed, worlds

FOUND = contract.discover()


@pytest.mark.parametrize("check", contract.CHECKS)
@pytest.mark.parametrize("use", FOUND)
def test_set_keeps_contract(use: str, check: str) -> None:
    """A set found in ``features/sets`` keeps the promise that ``check`` is about."""
    contract.CHECKS[check](contract.default(use))


def test_every_file_is_found() -> None:
    """Each file in ``features/sets`` has a set under contract."""
    folder = Path(features.sets.__path__[0])
    files = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")}
    assert {use.split(".")[0] for use in FOUND} == files


@settings(max_examples=4)
@given(table=worlds(), days=st.integers(20, 500))
def test_past_is_all_that_counts(table: Any, days: int) -> None:
    """Over any small world, the features at a cutoff are those of the rows before it alone."""
    cutoff = BEGAN + days * DAY
    parts = [contract.default(use) for use in FOUND]
    before = pc.and_(pc.less(table[c.EVENT_TIME], cutoff), pc.less(table[c.KNOWN_TIME], cutoff))
    assert as_bytes(computed(parts, table, [cutoff])) == as_bytes(
        computed(parts, table.filter(before), [cutoff])
    )


class _Nothing(Strict):
    """Nothing to set."""


def _set_of(
    build: Callable[[View], ir.Table],
    name: str = "x",
    module: str = "features.sets.cheat",
    **column: Any,
) -> Any:
    """A set that declares one column, ``cheat__<name>``, and is built by ``build``."""
    declared = {"unit": "days", "meaning": "a test", "missing": "no order", **column}
    full = f"cheat__{name}"

    class Cheat:
        config: _Nothing = _Nothing()

        def columns(self) -> list[FeatureColumn]:
            return [FeatureColumn(name=full, **declared)]

        def build(self, view: View) -> ir.Table:
            return build(view)

    Cheat.__module__ = module
    return Cheat()


def _by_customer(view: View) -> Any:
    return view.order_lines.group_by([c.CUSTOMER, c.CUTOFF])


def _honest(view: View) -> ir.Table:
    last = _by_customer(view).aggregate(last=view.order_lines[c.EVENT_TIME].max())
    return last.select(c.CUSTOMER, c.CUTOFF, cheat__x=days_between(last["last"], last[c.CUTOFF]))


def _reads_the_whole_table(view: View) -> ir.Table:
    lines = view.order_lines.get_backend().table("order_lines")
    total = lines.group_by(c.CUSTOMER).aggregate(cheat__x=lines[c.AMOUNT].sum().cast("float64"))
    return view.customers.inner_join(total, c.CUSTOMER)


def _reads_by_event_clock_alone(view: View) -> ir.Table:
    lines = view.order_lines.get_backend().table("order_lines")
    asked = view.customers.rename(asked=c.CUSTOMER)
    seen = asked.left_join(
        lines, [asked.asked == lines[c.CUSTOMER], lines[c.EVENT_TIME] < asked[c.CUTOFF]]
    )
    found = seen.group_by(["asked", c.CUTOFF]).aggregate(
        cheat__x=seen[c.AMOUNT].sum().cast("float64")
    )
    return found.rename(**{c.CUSTOMER: "asked"})


def _first_row(view: View) -> ir.Table:
    lines = view.order_lines
    return _by_customer(view).aggregate(
        cheat__x=lines[c.AMOUNT].argmin(lines[c.ROW]).cast("float64")
    )


def _rank_among_all(view: View) -> ir.Table:
    spend = _by_customer(view).aggregate(spend=view.order_lines[c.AMOUNT].sum())
    share = ibis.percent_rank().over(group_by=c.CUTOFF, order_by=spend.spend)
    return spend.select(c.CUSTOMER, c.CUTOFF, cheat__x=share.cast("float64"))


def _looks_at_the_calendar(view: View) -> ir.Table:
    found = _by_customer(view).aggregate(last=view.order_lines[c.EVENT_TIME].max())
    era = ibis.literal(datetime(2010, 9, 1), type="timestamp(6)")
    return found.select(c.CUSTOMER, c.CUTOFF, cheat__x=days_between(era, found["last"]))


def _mixes_cutoffs(view: View) -> ir.Table:
    found = _honest(view)
    mean = found.cheat__x.mean().over(group_by=c.CUSTOMER)
    return found.select(c.CUSTOMER, c.CUTOFF, cheat__x=mean)


def _divides_by_zero(view: View) -> ir.Table:
    n = view.order_lines.count(where=view.order_lines[c.IS_RETURN]).cast("float64")
    return _by_customer(view).aggregate(cheat__x=ibis.literal("Infinity").cast("float64") * (n + 1))


def _counts(view: View) -> ir.Table:
    return _by_customer(view).aggregate(cheat__x=view.order_lines.count())


def _sums_floats(view: View) -> ir.Table:
    # One group for all: then partial sums meet in an order that depends on the threads.
    amounts = view.order_lines[c.AMOUNT].cast("float64") / 3.7
    total = view.order_lines.aggregate(cheat__x=(amounts / 1e3).exp().ln().sum())
    return view.customers.cross_join(total)


def test_contract_passes_an_honest_set() -> None:
    """The checks accept a small set that keeps every promise."""
    part = _set_of(_honest, low=0)
    for check in contract.CHECKS.values():
        check(part)


@pytest.mark.parametrize(
    ("check", "part"),
    [
        ("later_rows", _set_of(_reads_the_whole_table)),
        ("late_news", _set_of(_reads_by_event_clock_alone)),
        ("row_order", _set_of(_first_row)),
        ("other_customers", _set_of(_rank_among_all)),
        ("shifted_clock", _set_of(_looks_at_the_calendar)),
        ("one_pass", _set_of(_mixes_cutoffs)),
        ("values_in_range", _set_of(_looks_at_the_calendar, low=0)),
        ("values_in_range", _set_of(_honest, high=10)),
        ("declared_columns", _set_of(_counts)),
        ("declared_columns", _set_of(_honest, name="y")),
        ("declared_columns", _set_of(_honest, module="features.sets.other")),
        ("declared_columns", _set_of(_honest, unit=" ")),
        ("declared_columns", _set_of(_honest, fill=0.0)),
        ("threads", _set_of(_sums_floats)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contract_catches(check: str, part: Any) -> None:
    """A set that breaks one promise fails the check of that promise."""
    with pytest.raises(AssertionError):
        contract.CHECKS[check](part)
