"""Feature sets over a view -> one table, with every promise of the sets checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend

from features import columns as c
from features.engine import keep
from features.errors import ConfigError, DataError
from features.plan import found, one_pass, pruned, replaced
from features.schema import ARROW, FeatureColumn, check
from features.views import View

KEYS = (c.CUSTOMER, c.CUTOFF)
Keep = Callable[[str, ir.Table], ir.Table]
"""Makes an expression once, under a name, and returns what stands for it from then on."""


class FeatureSet(Protocol):
    """One file below ``features/sets``: an Ibis expression over a view of the past."""

    @property
    def config(self) -> Any:
        """Its settings."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Tables without which it has nothing to say; others it asks for by ``view.has``."""
        ...

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        ...

    def build(self, view: View) -> ir.Table:
        """Keys and declared columns, one row per customer and cutoff that has something to say."""
        ...


@dataclass(frozen=True)
class Chosen:
    """A set of which only some columns are wanted; what they do not need is not computed."""

    part: FeatureSet
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        known = [k.name for k in self.part.columns()]
        unknown = [name for name in self.names if name not in known]
        if unknown:
            raise ConfigError(
                f"feature set {name_of(self.part)}: columns {unknown} are unknown; "
                f"it has {', '.join(known)}"
            )

    @property
    def config(self) -> Any:
        """The settings of the set, and which of its columns are wanted."""
        return (self.part.config, self.names)

    @property
    def reads(self) -> tuple[str, ...]:
        """What the whole set reads."""
        return self.part.reads

    def columns(self) -> list[FeatureColumn]:
        """The wanted columns, in the order of the set."""
        return [k for k in self.part.columns() if k.name in self.names]

    def build(self, view: View) -> ir.Table:
        """The wanted columns of what the set builds."""
        return self.part.build(view).select(*KEYS, *[k.name for k in self.columns()])


def name_of(part: FeatureSet) -> str:
    """What messages call a set."""
    return type(part.part if isinstance(part, Chosen) else part).__name__


def declared(sets: Sequence[FeatureSet]) -> list[FeatureColumn]:
    """Columns of all sets in order.

    Raises
    ------
    ConfigError
        If two sets declare the same column.
    """
    columns = [column for part in sets for column in part.columns()]
    names = [column.name for column in columns]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(f"features: column(s) {doubled} are declared twice; list each set once")
    return columns


def arrow_schema(columns: Sequence[FeatureColumn]) -> pa.Schema:
    """Arrow schema of a feature table."""
    keys = [(c.CUSTOMER, pa.int64()), (c.CUTOFF, pa.timestamp("us"))]
    return pa.schema([*keys, *[(k.name, ARROW[k.dtype]) for k in columns]])


def compute(
    backend: BaseBackend,
    view: View,
    sets: Sequence[FeatureSet],
    spine: ir.Table | None = None,
) -> pa.Table:
    """One row per customer of ``view`` and cutoff, ordered by cutoff and customer.

    Parameters
    ----------
    spine
        ``(customer_id, cutoff)`` to answer for instead of everyone known. Of customers outside it
        nothing is said.

    Raises
    ------
    DataError
        If a set returns other columns, customers or doubled keys than it declares, or the spine
        asks twice.

    Notes
    -----
    A set that reads a table which the source does not bring gives missing values: nothing could be
    observed. Whether that is allowed is the plan's business.
    """
    asked, tables = made(view, sets, partial(keep, backend), spine)
    result = joined(view, sets, asked, tables).to_pyarrow()
    counts = (
        [] if spine is not None else [int(table.count().to_pyarrow().as_py()) for table in tables]
    )
    return checked(result, sets, observed(view, sets), counts)


def checked(
    result: pa.Table,
    sets: Sequence[FeatureSet],
    observed: Sequence[FeatureSet],
    counts: Sequence[int],
) -> pa.Table:
    """The feature table in its declared schema, if every set kept its promises.

    Parameters
    ----------
    result
        What the expression of :func:`joined` gave.
    counts
        Rows of the table of each observed set; none = some may be of customers not asked about.
    """
    _check_rows(result, observed, counts)
    schema = arrow_schema(declared(sets))
    table = result.select(schema.names).cast(schema).combine_chunks()
    check(table, schema, (), "features")
    return table


def observed(view: View, sets: Sequence[FeatureSet]) -> list[FeatureSet]:
    """The sets whose tables the source brings."""
    return [part for part in sets if all(view.has(name) for name in part.reads)]


def made(
    view: View,
    sets: Sequence[FeatureSet],
    keep: Keep,
    spine: ir.Table | None = None,
) -> tuple[ir.Table, list[ir.Table]]:
    """Who is asked about, and the table of each observed set.

    ``keep`` is called for everything that is worth making once, in an order in which each needs
    none but those before it.
    """
    everyone = view.customers if spine is None else spine
    built = [everyone, *(_built(part, view) for part in observed(view, sets))]
    kept = _lasting(keep, view, built)
    everyone, *built = replaced(built, {node: table.op() for node, table in kept.items()})
    asked = keep("spine", everyone)
    ready = one_pass(pruned(built), keep)
    return asked, [keep(f"set_{number}", table) for number, table in enumerate(ready)]


def joined(
    view: View, sets: Sequence[FeatureSet], asked: ir.Table, tables: Sequence[ir.Table | None]
) -> ir.Table:
    """The feature table as an expression, with a mark of where each observed set had a row.

    Parameters
    ----------
    tables
        Of each observed set; None = it has no row.
    """
    # One chain of joins and one list of columns: nested ones take Ibis minutes to write down.
    whole = asked
    for number, table in enumerate(tables):
        if table is not None:
            keys = {f"{key}_{number}": key for key in KEYS}
            marked = table.rename(keys).mutate(**{f"found_{number}": ibis.literal(True)})
            same = [asked[key] == marked[renamed] for renamed, key in keys.items()]
            whole = whole.left_join(marked, same)
    values: dict[str, ir.Value] = {k.name: ibis.null(k.dtype) for k in declared(sets)}
    for number, part in enumerate(observed(view, sets)):
        values |= _filled(whole, part, view)
        mark = f"found_{number}"
        values[mark] = whole[mark] if mark in whole.columns else ibis.null("boolean")
    keyed = {key: whole[key] for key in KEYS}
    return whole.select(**keyed, **values).order_by(c.CUTOFF, c.CUSTOMER)


def _filled(whole: ir.Table, part: FeatureSet, view: View) -> dict[str, ir.Value]:
    """The set's columns; for customers without rows, where rows could be observed, as declared."""
    values: dict[str, ir.Value] = {
        k.name: whole[k.name] if k.name in whole.columns else ibis.null(k.dtype)
        for k in part.columns()
    }
    fills = {k.name: values[k.name].fill_null(k.fill) for k in part.columns() if k.fill is not None}
    unseen = view.unseen(whole[c.CUTOFF], part.reads)
    if unseen is not None:
        fills = {name: ibis.ifelse(unseen, values[name], fill) for name, fill in fills.items()}
    return values | fills


def _built(part: FeatureSet, view: View) -> ir.Table:
    built = part.build(view)
    expected = [*KEYS, *[k.name for k in part.columns()]]
    odd = sorted(set(built.columns) ^ set(expected))
    if odd:
        raise DataError(
            f"feature set {name_of(part)}: columns {odd} are declared and not built, "
            "or built and not declared"
        )
    return built.select(*expected)


def _check_rows(result: pa.Table, sets: Sequence[FeatureSet], made: Sequence[int]) -> None:
    """Rows of a set that match nothing asked are strangers; equal neighbours are doubled keys."""
    problems = []
    for number, (part, rows) in enumerate(zip(sets, made, strict=bool(made))):
        strangers = rows - (result.num_rows - result[f"found_{number}"].null_count)
        if strangers > 0:
            problems.append(f"feature set {name_of(part)}: {strangers} rows of unknown customers")
    customers, cutoffs = (result[key].to_numpy() for key in KEYS)
    doubled = int(((customers[1:] == customers[:-1]) & (cutoffs[1:] == cutoffs[:-1])).sum())
    if doubled:
        names = ", ".join(name_of(part) for part in sets)
        problems.append(
            f"{doubled} doubled keys: the spine, or one of {names}, has more than one row for a "
            "customer and cutoff"
        )
    if problems:
        raise DataError.listing("the feature table does not hold what was promised", problems)


def _lasting(keep: Keep, view: View, built: Sequence[ir.Table]) -> dict[ops.Node, ir.Table]:
    """Make what ``built`` needs of the view's lasting expressions."""
    used = set(found(built, ops.Relation))
    kept: dict[ops.Node, ir.Table] = {}
    for name, table in view.lasting.items():
        if table.op() in used:
            (ready,) = replaced([table], {node: made.op() for node, made in kept.items()})
            kept[table.op()] = keep(name, ready)
    return kept
