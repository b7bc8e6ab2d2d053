"""What every feature set promises. Each check takes a set and fails with what it broke.

``discover`` walks ``features/sets``, so a new file is under contract without being named here.
"""

import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.schema import FeatureColumn
from features.settings import Part, resolve
from features.snapshot import SETS, compute
from features.views import View
from tests.worlds import (
    BEGAN,
    DAY,
    as_bytes,
    computed,
    line,
    random_world,
    renumbered,
    tables,
    wide_world,
    world,
)

CUTOFFS = tuple(BEGAN + days * DAY for days in (150, 500, 731))
LAST = CUTOFFS[-1]
WEEKS = 104 * timedelta(weeks=1)
STRANGER = 4_000_000_000_000_000_000

Check = Callable[[Any], None]


def discover(home: str = SETS) -> list[str]:
    """``file.Class`` of every feature set below ``home``."""
    package = importlib.import_module(home)
    found = []
    for info in pkgutil.walk_packages(package.__path__, f"{home}."):
        module = importlib.import_module(info.name)
        found += [
            f"{info.name.removeprefix(f'{home}.')}.{name}"
            for name, cls in vars(module).items()
            if inspect.isclass(cls) and cls.__module__ == info.name and hasattr(cls, "build")
        ]
    return sorted(found)


@cache
def default(use: str) -> Any:
    """The set ``use`` with its defaults, as a pipeline would get it."""
    return resolve(SETS, Part(use=use))


@cache
def _world() -> pa.Table:
    return random_world(seed=11, customers=70)


@cache
def _wide() -> pa.Table:
    return wide_world(seed=3, rows=260_000, customers=3_000)


@cache
def _reference(part: Any) -> pa.Table:
    return computed([part], _world(), CUTOFFS)


def _same(part: Any, changed: pa.Table, what: str) -> None:
    expected, found = _reference(part), changed
    if as_bytes(expected) == as_bytes(found):
        return
    assert expected.num_rows == found.num_rows, (
        f"{what}: {expected.num_rows} rows became {found.num_rows}"
    )
    odd = [n for n in expected.column_names if not expected[n].equals(found[n])]
    raise AssertionError(f"{what}: columns {odd or 'in the last bit'} changed")


def later_rows(part: Any) -> None:
    """Rows that happen at the cutoff or later change nothing, even if they are known before."""
    at_last = computed([part], _world(), [LAST])
    before = pc.less(_world()[c.EVENT_TIME], pa.scalar(LAST, pa.timestamp("us")))
    past = _world().filter(before)
    assert as_bytes(computed([part], past, [LAST])) == as_bytes(at_last), "the future is seen"
    announced = [
        line(customer, LAST + ahead, f"future-{customer}", 10_000 * customer, customer, "F",
             known=LAST - 5 * DAY)
        for customer in range(1, 71)
        for ahead in (timedelta(0), 3 * DAY)
    ]  # fmt: skip
    more = renumbered(pa.concat_tables([past, world(announced)]))
    found = computed([part], more, [LAST])
    assert as_bytes(found) == as_bytes(at_last), "rows known before they happen are seen"


def late_news(part: Any) -> None:
    """Rows that become known at the cutoff or later change nothing, however old they are."""
    at_last = computed([part], _world(), [LAST])
    known = pc.less(_world()[c.KNOWN_TIME], pa.scalar(LAST, pa.timestamp("us")))
    past = _world().filter(known)
    assert past.num_rows < _world().num_rows
    assert as_bytes(computed([part], past, [LAST])) == as_bytes(at_last), "late news are seen"
    late = [
        line(customer, BEGAN + age * DAY, f"late-{customer}-{age}", 7_000, 7, "L", known=LAST)
        for customer in range(1, 75)
        for age in (1, 300, 700)
    ]
    more = renumbered(pa.concat_tables([past, world(late)]))
    found = computed([part], more, [LAST])
    assert as_bytes(found) == as_bytes(at_last), "rows known at the cutoff are seen"


def row_order(part: Any) -> None:
    """The order of rows, and so their numbers, does not matter."""
    mixed = _world().take(np.random.default_rng(5).permutation(_world().num_rows))
    _same(part, computed([part], renumbered(mixed), CUTOFFS), "rows in another order")


def other_customers(part: Any) -> None:
    """A customer's values do not depend on whom else the table holds."""
    some = [1, 5, 17, 30, 44]
    ours = _world().filter(pc.is_in(_world()[c.CUSTOMER], pa.array(some)))
    alone = computed([part], ours, CUTOFFS)
    among = _reference(part)
    among = among.filter(pc.is_in(among[c.CUSTOMER], pa.array(some)))
    assert as_bytes(alone) == as_bytes(among), "other customers' rows change a customer's values"


def shifted_clock(part: Any) -> None:
    """All times and the cutoffs moved by whole weeks change nothing: no ``now()``, no epoch."""
    step = pa.scalar(WEEKS, pa.duration("us"))
    moved = _world()
    for clock in (c.EVENT_TIME, c.KNOWN_TIME):
        position = moved.column_names.index(clock)
        moved = moved.set_column(position, clock, pc.add(moved[clock], step))
    found = computed([part], moved, [t + WEEKS for t in CUTOFFS], began=BEGAN + WEEKS)
    back = pc.subtract(found[c.CUTOFF], step)
    found = found.set_column(found.column_names.index(c.CUTOFF), c.CUTOFF, back)
    _same(part, found, f"all times {WEEKS.days} days later")


def one_pass(part: Any) -> None:
    """Several cutoffs in one pass give what each gives alone."""
    alone = [computed([part], _world(), [t]) for t in reversed(CUTOFFS)]
    _same(part, pa.concat_tables(reversed(alone)), "cutoffs one by one")


def everyone(part: Any) -> None:
    """Each known customer has one row a cutoff; without rows it holds what the columns declare."""
    found = _reference(part)
    pairs = set()
    for t in CUTOFFS:
        limit = pa.scalar(t, pa.timestamp("us"))
        seen = _world().filter(
            pc.and_(pc.less(_world()[c.EVENT_TIME], limit), pc.less(_world()[c.KNOWN_TIME], limit))
        )
        pairs |= {(t, customer) for customer in seen[c.CUSTOMER].to_pylist()}
    keys = list(zip(found[c.CUTOFF].to_pylist(), found[c.CUSTOMER].to_pylist(), strict=True))
    assert keys == sorted(pairs), "not one row for each customer known at each cutoff"

    opened = tables(_world())
    view = _WithStranger(opened.asof(CUTOFFS).order_lines, BEGAN)
    rows = compute(opened, view, [part])
    opened.backend.disconnect()
    rows = rows.filter(pc.equal(rows[c.CUSTOMER], STRANGER))
    assert rows.num_rows == len(CUTOFFS), "a customer without rows has no row"
    for column in part.columns():
        for value in rows[column.name].to_pylist():
            fitting = value == column.fill or (column.fill is None and value == 0)
            assert fitting, f"{column.name}: {value} without rows, declared {column.fill}"


@dataclass(frozen=True)
class _WithStranger(View):
    """A view that also asks for a customer of whom there is no row."""

    @cached_property
    def customers(self) -> ir.Table:
        known = View.customers.func(self)
        strangers = ibis.memtable(
            {c.CUSTOMER: [STRANGER] * len(CUTOFFS), c.CUTOFF: list(CUTOFFS)},
            schema={c.CUSTOMER: "int64", c.CUTOFF: "timestamp(6)"},
        )
        return known.union(strangers)


def declared_columns(part: Any) -> None:
    """What is built has the declared columns and types; building it runs nothing."""
    columns: Sequence[FeatureColumn] = part.columns()
    assert columns, "no column is declared"
    opened = tables(_world())
    before = opened.backend.raw_sql("SHOW TABLES").fetchall()
    schema = part.build(opened.asof(CUTOFFS)).schema()
    after = opened.backend.raw_sql("SHOW TABLES").fetchall()
    opened.backend.disconnect()
    assert before == after, f"building made tables: {sorted(set(after) - set(before))}"
    expected = {c.CUSTOMER: "int64", c.CUTOFF: "timestamp(6)"}
    expected |= {column.name: column.dtype for column in columns}
    found = {name: str(dtype.copy(nullable=True)) for name, dtype in schema.items()}
    assert found == expected, (
        f"differ from the declaration: {set(found.items()) ^ set(expected.items())}"
    )
    name = type(part).__module__.rsplit(".", 1)[-1]
    for column in columns:
        assert re.fullmatch(rf"{name}__[A-Za-z][A-Za-z0-9_]*", column.name), (
            f"{column.name}: expected {name}__<quantity>_<unit>"
        )
        assert column.unit.strip(), f"{column.name}: no unit"
        assert column.meaning.strip(), f"{column.name}: no meaning"
        assert column.missing.strip(), f"{column.name}: nothing says what missing means"
        assert (column.missing == "never") == (column.fill is not None), (
            f"{column.name}: missing is {column.missing!r} and fill {column.fill}"
        )


def values_in_range(part: Any) -> None:
    """No infinity, no NaN, nothing beyond the declared bounds, no gap where none is declared."""
    for column in part.columns():
        values = _reference(part)[column.name]
        if column.missing == "never":
            assert not values.null_count, f"{column.name}: {values.null_count} values are missing"
        given = [v for v in values.to_pylist() if v is not None]
        assert given, f"{column.name}: never a value, so nothing was checked"
        assert all(math.isfinite(v) for v in given), f"{column.name}: infinite or NaN"
        low = -math.inf if column.low is None else column.low
        high = math.inf if column.high is None else column.high
        beyond = [v for v in given if not low <= v <= high]
        assert not beyond, f"{column.name}: {beyond[:3]} beyond [{low}, {high}]"


def threads(part: Any) -> None:
    """One thread and two give the same bits."""
    one = computed([part], _wide(), [LAST], threads=1)
    two = computed([part], _wide(), [LAST], threads=2)
    assert as_bytes(one) == as_bytes(two), "the number of threads changes the values"


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        later_rows,
        late_news,
        row_order,
        other_customers,
        shifted_clock,
        one_pass,
        everyone,
        declared_columns,
        values_in_range,
        threads,
    )
}
