"""The promises of a feature set, each as a check that says what is wrong, set by set."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.compute import Chosen, FeatureSet
from features.leakage import worlds
from features.leakage.kit import STRANGER, Kit, Problems
from features.schema import ARROW, FeatureColumn
from features.settings import Strict


class Finding(Strict):
    """What one check found of one set."""

    set: str
    check: str
    verdict: Literal["passed", "failed", "exempt", "not read"]
    """``exempt``: of other customers by design; ``not read``: the source lacks what it reads."""
    found: str


def findings(kit: Kit, check: str) -> list[Finding]:
    """What ``check`` finds of each set of ``kit``."""
    problems = CHECKS[check](kit)
    return [_finding(kit, name, check, problems[name]) for name in kit.sets]


def _finding(kit: Kit, name: str, check: str, problem: str) -> Finding:
    part = kit.sets[name]
    lacking = [table for table in part.reads if table not in kit.world.tables]
    if lacking and check != "declared_columns":
        found = f"the source brings no {', '.join(lacking)}"
        return Finding(set=name, check=check, verdict="not read", found=found)
    if check == "other_customers" and getattr(_whole(part), "of_others", False):
        found = f"by design: {problem}" if problem else "nothing changed: is of_others needed?"
        return Finding(set=name, check=check, verdict="exempt", found=found)
    verdict: Literal["passed", "failed"] = "failed" if problem else "passed"
    return Finding(set=name, check=check, verdict=verdict, found=problem or "as promised")


def _whole(part: FeatureSet) -> FeatureSet:
    """The set itself, where only some of its columns are wanted."""
    return part.part if isinstance(part, Chosen) else part


# --- other worlds -----------------------------------------------------------------------------


def later_rows(kit: Kit) -> Problems:
    """What happens from the cutoff on changes nothing, even if it was announced before."""
    return kit.differences(kit.in_other(worlds.later_rows(kit.world, kit.cutoffs[-1])))


def late_news(kit: Kit) -> Problems:
    """What is learned from the cutoff on changes nothing, however long ago it happened."""
    return kit.differences(kit.in_other(worlds.late_news(kit.world, kit.cutoffs[-1])))


def row_order(kit: Kit) -> Problems:
    """The order of rows and their numbers do not matter; ties of both clocks keep theirs."""
    return kit.differences(kit.in_other(worlds.shuffled(kit.world)))


def other_customers(kit: Kit) -> Problems:
    """A customer's values do not depend on whom else the tables hold."""
    some = pa.array([*kit.asked[::3].to_pylist(), STRANGER], pa.int64())
    alone = kit.in_other(worlds.of_customers(kit.world, some.to_pylist()))
    return kit.differences(alone, lambda table: table.filter(pc.is_in(table[c.CUSTOMER], some)))


def shifted_clock(kit: Kit) -> Problems:
    """All times moved by 28 years, in which the calendar repeats, change nothing: no ``now()``."""
    later = [t + worlds.CYCLE for t in kit.cutoffs]
    found = kit.at(later, worlds.another_time(kit.world))
    back = pa.scalar(worlds.CYCLE, pa.duration("us"))
    moved = {
        name: table.set_column(1, c.CUTOFF, pc.subtract(table[c.CUTOFF], back))
        if isinstance(table, pa.Table) else table
        for name, table in found.items()
    }  # fmt: skip
    return kit.differences(moved)


def one_pass(kit: Kit) -> Problems:
    """Several cutoffs in one pass give what one of the middle, or the last of two, gives alone."""
    alone = kit.cutoffs[len(kit.cutoffs) // 2]

    def of_it(table: pa.Table) -> pa.Table:
        return table.filter(pc.equal(table[c.CUTOFF], pa.scalar(alone, pa.timestamp("us"))))

    return kit.differences(kit.at([alone]), of_it)


# --- the world as it is -----------------------------------------------------------------------


def without_rows(kit: Kit) -> Problems:
    """A customer without rows holds what the columns declare."""

    def problem(part: FeatureSet, table: pa.Table) -> list[str]:
        rows = table.filter(pc.equal(table[c.CUSTOMER], STRANGER))
        if rows.num_rows != len(kit.cutoffs):
            return [f"{rows.num_rows} rows at {len(kit.cutoffs)} cutoffs"]
        rows = _sighted(rows, kit.seen.blind(part.reads))
        odd = []
        for k in part.columns():
            allowed = (None, 0) if k.fill is None else (k.fill,)
            strange = [v for v in rows[k.name].to_pylist() if v not in allowed]
            odd += [f"{k.name}: {strange[0]} without rows, declared {k.fill}"] if strange else []
        return odd

    return _of_reference(kit, problem)


def values_in_range(kit: Kit) -> Problems:
    """No infinity, nothing beyond the declared bounds, no gap where none is declared."""

    def problem(part: FeatureSet, table: pa.Table) -> list[str]:
        sighted = _sighted(table, kit.seen.blind(part.reads))
        return [p for k in part.columns() if (p := _odd_values(k, sighted[k.name]))]

    return _of_reference(kit, problem)


def _odd_values(column: FeatureColumn, values: pa.ChunkedArray) -> str:
    if column.missing == "never" and values.null_count:
        return f"{column.name}: {values.null_count} values are missing, declared never"
    if column.dtype == "string":
        return ""
    low = -math.inf if column.low is None else column.low
    high = math.inf if column.high is None else column.high
    given = values.drop_null().to_pylist()
    beyond = [v for v in given if not (low <= v <= high and math.isfinite(v))]
    within = f"[{low:g}, {high:g}]"
    return f"{column.name}: {len(beyond)} beyond {within}, such as {beyond[0]}" if beyond else ""


def _sighted(table: pa.Table, blind: Sequence[datetime]) -> pa.Table:
    """Rows at cutoffs at which something could be observed; fills hold at no others."""
    moments = pa.array(blind, pa.timestamp("us"))
    return table.filter(pc.invert(pc.is_in(table[c.CUTOFF], moments)))


def _of_reference(kit: Kit, problem: Callable[[FeatureSet, pa.Table], list[str]]) -> Problems:
    return {
        name: table if isinstance(table, str) else "; ".join(problem(kit.sets[name], table))
        for name, table in kit.reference.items()
    }


# --- the declaration --------------------------------------------------------------------------


def declared_columns(kit: Kit) -> Problems:
    """What is built is what was declared, all of it said in words; building asks no engine."""
    return {name: "; ".join(_undeclared(kit, part)) for name, part in kit.sets.items()}


def _undeclared(kit: Kit, part: FeatureSet) -> list[str]:
    columns = part.columns()
    home = type(_whole(part)).__module__.rsplit(".", 1)[-1]
    problems = [] if columns else ["no column is declared"]
    for k in columns:
        if not re.fullmatch(rf"{home}__[A-Za-z][A-Za-z0-9_]*", k.name):
            problems.append(f"{k.name}: expected {home}__<quantity>_<unit>")
        unsaid = [n for n in ("unit", "meaning", "missing") if not getattr(k, n).strip()]
        problems += [f"{k.name}: no {name}" for name in unsaid]
        if (k.missing == "never") != (k.fill is not None):
            problems.append(f"{k.name}: missing is {k.missing!r} and fill {k.fill}")
    view = kit.seen
    if not all(view.has(name) for name in part.reads):
        return problems
    heard = len(kit.listener.heard)
    try:
        schema = part.build(view).schema()
    except Exception as error:  # noqa: BLE001 - a user's set may fail in any way
        return [*problems, f"cannot be built: {error}"]
    if len(kit.listener.heard) > heard:
        problems.append(f"building asks the engine: {kit.listener.heard[heard][:60]}")
    expected = {c.CUSTOMER: ARROW["int64"], c.CUTOFF: ARROW["timestamp"]}
    expected |= {k.name: ARROW[k.dtype] for k in columns}
    found = {name: dtype.to_pyarrow() for name, dtype in schema.items()}
    odd = sorted(n for n in expected | found if expected.get(n) != found.get(n))
    return [*problems, *(f"{n}: is {found.get(n)}, declared {expected.get(n)}" for n in odd)]


CHECKS: dict[str, Callable[[Kit], Problems]] = {
    check.__name__: check
    for check in (
        declared_columns, values_in_range, without_rows, later_rows, late_news, row_order,
        other_customers, shifted_clock, one_pass,
    )
}  # fmt: skip
