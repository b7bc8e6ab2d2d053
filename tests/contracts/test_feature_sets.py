"""Every feature set keeps the contract, and the contract catches those that would not."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.sets
from features import columns as c
from features.canonical import CANONICAL
from features.catalogue import discover
from features.engine import make, times
from features.leakage.checks import CHECKS
from features.leakage.kit import STRANGER, bits
from features.passes import MOMENTS, Passes
from features.schema import FeatureColumn
from features.settings import Strict
from features.tables import Tables
from features.views import View, days_between
from tests.channel_worlds import known_before
from tests.contracts import feature_sets as contract
from tests.worlds import BEGAN, DAY, tables, worlds

FOUND = discover()
ORDER_LINES = CANONICAL["order_lines"].arrow


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("use", FOUND)
def test_set_keeps_contract(use: str, check: str) -> None:
    """A set found in ``features/sets`` keeps the promise that ``check`` is about."""
    finding = contract.findings(check)[use]
    assert finding.verdict in ("passed", "exempt"), finding.found


@pytest.mark.parametrize("use", FOUND)
def test_values_of_others_are_declared(use: str) -> None:
    """``of_others`` is for sets whose values do come of other customers' rows."""
    finding = contract.findings("other_customers")[use]
    declared = getattr(contract.default(use), "of_others", False)
    assert (finding.verdict == "exempt") == declared
    if declared:
        assert finding.found.startswith("by design"), finding.found


def test_sets_have_values() -> None:
    """No column is empty in the world that the checks look at."""
    odd = {use: found for use, found in contract.has_values(contract.together()).items() if found}
    assert odd == {}


def test_threads_change_nothing() -> None:
    """Every set gives the same bits on one thread and on two."""
    found = contract.of_threads({use: contract.default(use) for use in FOUND})
    assert {use: odd for use, odd in found.items() if odd} == {}


def test_everyone_known_is_asked() -> None:
    """Each customer of whom any row is known has one row a cutoff, and nobody else but one."""
    found = next(iter(contract.together().reference.values()))
    assert not isinstance(found, str)
    pairs = set()
    for t in contract.CUTOFFS:
        for table in contract.channels().tables.values():
            if c.CUSTOMER in table.column_names:
                seen = known_before(table, t)[c.CUSTOMER].to_pylist()
                pairs |= {(t, customer) for customer in (*seen, STRANGER)}
    keys = list(zip(found[c.CUTOFF].to_pylist(), found[c.CUSTOMER].to_pylist(), strict=True))
    assert keys == sorted(pairs)


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
    before = pc.and_(pc.less(table[c.EVENT_TIME], cutoff), pc.less(table[c.KNOWN_TIME], cutoff))
    whole, past = (_every_set(rows, cutoff) for rows in (table, table.filter(before)))
    assert whole.select(["customer_id", "cutoff"]).equals(past.select(["customer_id", "cutoff"]))
    odd = [n for n in whole.column_names if not np.array_equal(bits(whole[n]), bits(past[n]))]
    assert odd == []


def _every_set(lines: pa.Table, cutoff: datetime) -> pa.Table:
    opened, passes = _written()
    opened.backend.create_table("order_lines", lines, overwrite=True)
    make(opened.backend, MOMENTS, times(opened.backend, c.CUTOFF, [cutoff]))
    return passes.again()


@cache
def _written() -> tuple[Tables, Passes]:
    """Statements of every set: writing them takes longer than running them."""
    opened = tables(ORDER_LINES.empty_table())
    passes = Passes(opened.backend, opened.asof, [contract.default(use) for use in FOUND])
    passes.at([BEGAN])
    return opened, passes


class _Nothing(Strict):
    """Nothing to set."""


Build = Callable[[View], ir.Table]


def _set_of(
    build: Build, name: str = "x", module: str = "features.sets.cheat", **column: Any
) -> Any:
    """A set with one column, called ``cheat__x``, made by ``build``."""
    declared = {"unit": "u", "meaning": "m", "missing": "no row", **column}
    full = f"cheat__{name}"

    class Cheat:
        config: _Nothing = _Nothing()
        reads = ("order_lines", "events")

        def columns(self) -> list[FeatureColumn]:
            return [FeatureColumn(name=full, **declared)]

        def build(self, view: View) -> ir.Table:
            return build(view)

    Cheat.__module__ = module
    return Cheat()


def _whole(view: View, table: str) -> ir.Table:
    """All rows of ``table``, past the view."""
    return view.rows(table).get_backend().table(table)


def _by_customer(rows: ir.Table) -> Any:
    return rows.group_by([c.CUSTOMER, c.CUTOFF])


def _honest(table: str = "order_lines") -> Build:
    def build(view: View) -> ir.Table:
        rows = view.rows(table)
        last = _by_customer(rows).aggregate(last=rows[c.EVENT_TIME].max())
        age = days_between(last["last"], last[c.CUTOFF])
        return last.select(c.CUSTOMER, c.CUTOFF, cheat__x=age)

    return build


def _reads_the_whole_table(table: str) -> Build:
    def build(view: View) -> ir.Table:
        rows = _whole(view, table)
        total = rows.group_by(c.CUSTOMER).aggregate(cheat__x=rows.count().cast("float64"))
        return view.customers.inner_join(total, c.CUSTOMER)

    return build


def _reads_by_event_clock_alone(table: str) -> Build:
    def build(view: View) -> ir.Table:
        rows, asked = _whole(view, table), view.customers.rename(asked=c.CUSTOMER)
        seen = asked.left_join(
            rows, [asked.asked == rows[c.CUSTOMER], rows[c.EVENT_TIME] < asked[c.CUTOFF]]
        )
        found = seen.group_by(["asked", c.CUTOFF]).aggregate(
            cheat__x=seen[c.EVENT_TIME].count().cast("float64")
        )
        return found.rename(**{c.CUSTOMER: "asked"})

    return build


def _todays_words(view: View) -> ir.Table:
    """What products are called today, for what was looked at before."""
    rows, products = view.rows("events"), _whole(view, "products")
    last = products.group_by(c.PRODUCT).aggregate(
        price=products["price_minor"].argmax(products[c.EVENT_TIME])
    )
    named = rows.inner_join(last, c.PRODUCT)
    return _by_customer(named).aggregate(cheat__x=named.price.max().cast("float64"))


def _first_row(table: str) -> Build:
    def build(view: View) -> ir.Table:
        rows = view.rows(table)
        first = rows[c.EVENT_TIME].argmin(rows[c.ROW])
        found = _by_customer(rows).aggregate(first=first)
        age = days_between(found["first"], found[c.CUTOFF])
        return found.select(c.CUSTOMER, c.CUTOFF, cheat__x=age)

    return build


def _rank_among_all(table: str) -> Build:
    def build(view: View) -> ir.Table:
        rows = view.rows(table)
        found = _by_customer(rows).aggregate(n=rows.count())
        share = ibis.percent_rank().over(group_by=c.CUTOFF, order_by=found.n)
        return found.select(c.CUSTOMER, c.CUTOFF, cheat__x=share.cast("float64"))

    return build


def _looks_at_the_calendar(table: str) -> Build:
    def build(view: View) -> ir.Table:
        rows = view.rows(table)
        found = _by_customer(rows).aggregate(last=rows[c.EVENT_TIME].max())
        era = ibis.literal(datetime(2010, 9, 1), type="timestamp(6)")
        age = days_between(era, found["last"])
        return found.select(c.CUSTOMER, c.CUTOFF, cheat__x=age)

    return build


def _mixes_cutoffs(view: View) -> ir.Table:
    found = _honest()(view)
    mean = found.cheat__x.mean().over(group_by=c.CUSTOMER)
    return found.select(c.CUSTOMER, c.CUTOFF, cheat__x=mean)


def _knows_the_cutoffs(view: View) -> ir.Table:
    found = _honest()(view)
    last = ibis.literal(max(view.cutoffs), type="timestamp(6)")
    return found.mutate(cheat__x=days_between(found[c.CUTOFF], last))


def _counts(view: View) -> ir.Table:
    return _by_customer(view.order_lines).aggregate(cheat__x=view.order_lines.count())


def _asks_while_building(view: View) -> ir.Table:
    most = view.rows("events").count().to_pyarrow().as_py()
    return _honest()(view).mutate(cheat__x=ibis.literal(float(most)))


def _answers_for_all(view: View) -> ir.Table:
    return view.customers.mutate(cheat__x=ibis.literal(3.0))


def _fails(view: View) -> ir.Table:
    return view.rows("events").no_such_column


def _sums_floats(view: View) -> ir.Table:
    # One group for all: then partial sums meet in an order that depends on the threads.
    amounts = view.order_lines[c.AMOUNT].cast("float64") / 3.7
    total = view.order_lines.aggregate(cheat__x=(amounts / 1e3).exp().ln().sum())
    return view.customers.cross_join(total)


@pytest.mark.parametrize("check", CHECKS)
def test_contract_passes_an_honest_set(check: str) -> None:
    """The checks accept a small set that keeps every promise."""
    assert contract.problem(check, _set_of(_honest("events"), low=0)) == ""


@pytest.mark.parametrize("table", ["order_lines", "events"])
@pytest.mark.parametrize(
    ("check", "cheat"),
    [
        ("later_rows", _reads_the_whole_table),
        ("late_news", _reads_by_event_clock_alone),
        ("row_order", _first_row),
        ("other_customers", _rank_among_all),
        ("shifted_clock", _looks_at_the_calendar),
    ],
)
def test_contract_catches(check: str, cheat: Callable[[str], Build], table: str) -> None:
    """A set that breaks one promise, on any table, fails the check of that promise."""
    assert "cheat__x" in contract.problem(check, _set_of(cheat(table)))


@pytest.mark.parametrize(
    ("check", "part", "said"),
    [
        ("later_rows", _set_of(_todays_words), "such as"),
        ("late_news", _set_of(_todays_words), "such as"),
        ("one_pass", _set_of(_mixes_cutoffs), "such as"),
        ("one_pass", _set_of(_knows_the_cutoffs), "such as"),
        ("values_in_range", _set_of(_looks_at_the_calendar("events"), low=0), "beyond"),
        ("values_in_range", _set_of(_honest(), high=10), "beyond"),
        ("values_in_range", _set_of(_fails), "cannot be computed"),
        ("later_rows", _set_of(_fails), "cannot be computed"),
        ("without_rows", _set_of(_answers_for_all, fill=0, missing="never"), "3.0 without rows"),
        ("declared_columns", _set_of(_counts), "int64, declared double"),
        ("declared_columns", _set_of(_honest(), name="y"), "cheat__y"),
        ("declared_columns", _set_of(_honest(), module="features.sets.other"), "expected other__"),
        ("declared_columns", _set_of(_honest(), unit=" "), "no unit"),
        ("declared_columns", _set_of(_honest(), fill=0.0), "and fill 0.0"),
        ("declared_columns", _set_of(_asks_while_building), "asks the engine"),
        ("declared_columns", _set_of(_fails), "cannot be built"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contract_says(check: str, part: Any, said: str) -> None:
    """Further ways to break a promise, and what the check says of them."""
    assert said in contract.problem(check, part)


def test_contract_catches_sums_that_depend_on_threads() -> None:
    """Floating-point sums over many rows differ in the last bit, unless one thread did it all."""
    tries = (contract.of_threads({"it": _set_of(_sums_floats)})["it"] for _ in range(20))
    assert any(tries)
