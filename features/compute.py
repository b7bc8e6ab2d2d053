"""Feature sets over a view -> one table, with every promise of the sets checked."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from ibis.backends import BaseBackend

from features import columns as c
from features.engine import keep
from features.errors import ConfigError, DataError
from features.once import Definitions, needed, shared
from features.plan import one_pass, pruned, without_filters
from features.schema import ARROW, FeatureColumn, check
from features.views import View
from features.wide import KEYS, Flat, beside, flat, over

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
    done = made(view, sets, partial(keep, backend), spine)
    counts = {
        name: backend.to_pyarrow(done.parts[base].count()).as_py()
        for name, base in done.bases().items() if spine is None
    }  # fmt: skip
    return checked(backend.to_pyarrow(done.joined()), done, counts)


@dataclass(frozen=True)
class Made:
    """Feature sets over kept tables: what is left is to join those, see :meth:`joined`."""

    view: View
    sets: Sequence[FeatureSet]
    asked: ir.Table
    """``(customer_id, cutoff)`` of who is asked about."""
    flats: Mapping[int, Flat]
    """What the set of a number is made of; those are not there whose tables the source lacks."""
    parts: Mapping[ops.Relation, ir.Table]
    """The kept table of each part."""

    def bases(self) -> dict[str, ops.Relation]:
        """The part that has the rows of some sets, by the name of its mark: its customer."""
        found = dict.fromkeys(taken.base for taken in self.flats.values())
        return {f"found_{number}": base for number, base in enumerate(found) if base in self.parts}

    def joined(self, empty: Set[str] = frozenset()) -> ir.Table:
        """The feature table in no order, with the marks of :meth:`bases`.

        Parameters
        ----------
        empty
            Names of kept tables that have no rows.
        """
        there = {p: table for p, table in self.parts.items() if table.get_name() not in empty}
        links, (asked, *references) = beside(self.asked, list(there.values()))
        fields: dict[Any, ops.Value] = {}
        rows = {self.asked.op(): asked, **dict(zip(there, references, strict=True))}
        for part in _parts(self.flats.values()):
            for name, kind in part.schema.items():
                fields[ops.Field(part, name)] = (
                    ops.Field(rows[part], name) if part in rows else ops.Literal(None, kind)
                )
        marks = {name: fields[ops.Field(b, c.CUSTOMER)] for name, b in self.bases().items()}
        values = {key: ops.Field(asked, key) for key in KEYS} | marks
        for number, part in enumerate(self.sets):
            values |= self._filled(part, self.flats.get(number), fields, asked)
        return ops.JoinChain(asked, links, values).to_expr()

    def _filled(
        self, part: FeatureSet, taken: Flat | None, fields: Mapping[Any, ops.Value], asked: Any
    ) -> dict[str, ops.Value]:
        """The set's columns; where rows could be observed and there are none, as declared."""
        if taken is None:
            return {k.name: ibis.null(k.dtype).op() for k in part.columns()}
        unseen = self.view.unseen(ops.Field(asked, c.CUTOFF).to_expr(), part.reads)
        known = None
        if taken.base != self.asked.op():
            known = fields[ops.Field(taken.base, c.CUSTOMER)].to_expr().notnull()
        found, filled = over(taken.values, fields), {}
        for column in part.columns():
            value = found[column.name].to_expr()
            if known is not None:
                value = ibis.ifelse(known, value, None)
            if column.fill is not None:
                fill = column.fill if unseen is None else ibis.ifelse(unseen, None, column.fill)
                value = value.fill_null(fill)
            filled[column.name] = value.op()
        return filled


def checked(result: pa.Table, made: Made, counts: Mapping[str, int]) -> pa.Table:
    """The feature table in order and in its declared schema, if every set kept its promises.

    Parameters
    ----------
    result
        What :meth:`Made.joined` gave.
    counts
        Rows of the tables of :meth:`Made.bases`; none = some may be of customers not asked about.
    """
    result = result.combine_chunks()
    order = np.lexsort([result[key].to_numpy() for key in KEYS])
    result = result.take(order)
    _check_rows(result, made, counts)
    schema = arrow_schema(declared(made.sets))
    table = result.select(schema.names).cast(schema).combine_chunks()
    check(table, schema, (), "features")
    return table


def made(
    view: View,
    sets: Sequence[FeatureSet],
    keep: Keep,
    spine: ir.Table | None = None,
) -> Made:
    """The tables behind feature sets, each made once.

    ``keep`` is called for everything that is worth making once, in an order in which each needs
    none but those before it.
    """

    def kept(name: str, table: ir.Table) -> ir.Table:
        return keep(name, without_filters(table))

    view = replace(view, definitions=(definitions := Definitions()))
    numbers = [n for n, part in enumerate(sets) if all(view.has(name) for name in part.reads)]
    built = [_built(sets[number], view) for number in numbers]
    asked = view.customers if spine is None else kept("spine", spine)
    built = pruned(built)
    for name, table in needed(definitions, [asked, *built]).items():
        kept(name, table)
    flats = dict(zip(numbers, map(flat, one_pass(built, kept)), strict=True))
    nodes = _parts(flats.values())
    tables, alike = shared([node.to_expr() for node in nodes])
    for name, table in alike.items():
        kept(name, table)
    there = (ops.DatabaseTable, ops.UnboundTable)
    parts = {
        node: table if isinstance(table.op(), there) else kept(f"part_{number}", table)
        for number, (node, table) in enumerate(zip(nodes, tables, strict=True))
    }
    parts.pop(asked.op(), None)
    return Made(view, sets, asked, flats, parts)


def _parts(flats: Iterable[Flat]) -> list[ops.Relation]:
    return list(dict.fromkeys(part for taken in flats for part in taken.parts))


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


def _check_rows(result: pa.Table, made: Made, counts: Mapping[str, int]) -> None:
    """Rows of a set that match nothing asked are strangers; equal neighbours are doubled keys."""
    problems = []
    bases = made.bases()
    for mark, rows in counts.items():
        strangers = rows - (result.num_rows - result[mark].null_count)
        if strangers > 0:
            of = [n for n, taken in made.flats.items() if taken.base == bases[mark]]
            names = ", ".join(name_of(made.sets[number]) for number in of)
            problems.append(f"feature set {names}: {strangers} rows of unknown customers")
    customers, cutoffs = (result[key].to_numpy() for key in KEYS)
    doubled = int(((customers[1:] == customers[:-1]) & (cutoffs[1:] == cutoffs[:-1])).sum())
    if doubled:
        names = ", ".join(name_of(made.sets[number]) for number in made.flats)
        problems.append(
            f"{doubled} doubled keys: the spine, or one of {names}, has more than one row for a "
            "customer and cutoff"
        )
    if problems:
        raise DataError.listing("the feature table does not hold what was promised", problems)
