"""Feature sets beside each other: one chain of joins for all of them.

Most sets are sums of a few kinds of rows, brought together by customer and cutoff, and arithmetic
on them. Taken apart, the sums of all sets can be joined once to who is asked about, and the
arithmetic done there.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir

from features import columns as c
from features.plan import values_below

KEYS = (c.CUSTOMER, c.CUTOFF)
NOT_BY_ROW = (ops.Analytic, ops.WindowFunction, ops.Reduction, ops.Subquery, ops.Unnest, ops.Impure)
Values = dict[str, ops.Value]


@dataclass(frozen=True)
class Flat:
    """A table taken apart: its columns as arithmetic on columns of other tables.

    They stand beside the ``base`` by customer and cutoff, one row or none for each row of it.
    """

    base: ops.Relation
    """Has the rows of the table."""
    values: Values

    @property
    def parts(self) -> list[ops.Relation]:
        """The base, and what else the values read."""
        fields = (n for n in values_below(self.values.values()) if isinstance(n, ops.Field))
        return list(dict.fromkeys([self.base, *(field.rel for field in fields)]))


def flat(table: ir.Table) -> Flat:
    """``table``, a row per customer and cutoff, taken apart as far as it can be."""
    node = table.op()
    found = _flat(node)
    keyed = all(found.values[key] == ops.Field(found.base, key) for key in KEYS)
    return found if keyed else _whole(node)


def beside(asked: ir.Table, parts: Sequence[ir.Table]) -> tuple[list[ops.JoinLink], list[Any]]:
    """Joins of ``parts`` to ``asked`` by the keys, and what the columns of both are fields of."""
    first = ops.JoinReference(asked.op(), 0)
    references = [ops.JoinReference(t.op(), n) for n, t in enumerate(parts, start=1)]
    links = [
        ops.JoinLink(
            "left", part, [ops.Equals(ops.Field(first, k), ops.Field(part, k)) for k in KEYS]
        )
        for part in references
    ]
    return links, [first, *references]


def over(values: Mapping[str, ops.Value], fields: Mapping[Any, Any]) -> Values:
    """``values`` with each field that is a key of ``fields`` exchanged."""
    done = dict(fields)

    def exchanged(node: Any) -> Any:
        if isinstance(node, tuple):
            return tuple(map(exchanged, node))
        if not isinstance(node, ops.Value):
            return node
        if node not in done:
            arguments = [exchanged(argument) for argument in node.__args__]
            same = all(a is b for a, b in zip(arguments, node.__args__, strict=True))
            named = dict(zip(node.__argnames__, arguments, strict=True))
            done[node] = node if same else node.__recreate__(named)
        return done[node]

    return {name: exchanged(value) for name, value in values.items()}


def _flat(node: ops.Relation) -> Flat:
    if isinstance(node, ops.Project) and _by_row(node.values.values()):
        below = _flat(node.parent)
        return Flat(below.base, over(node.values, _fields(node.parent, below.values)))
    if isinstance(node, ops.DropColumns):
        below = _flat(node.parent)
        return Flat(below.base, {name: below.values[name] for name in node.schema})
    if isinstance(node, ops.JoinChain) and all(link.how == "left" for link in node.rest):
        first = _flat(node.first.parent)
        fields = _fields(node.first, first.values)
        for link in node.rest:
            part = _renamed(link.table.parent)
            fields |= _fields(link.table, part.values)
            wanted = {(ops.Field(first.base, key), ops.Field(part.base, key)) for key in KEYS}
            if _equated(link.predicates, fields) != wanted:
                return _whole(node)
        return Flat(first.base, over(node.values, fields))
    return _whole(node)


def _whole(node: ops.Relation) -> Flat:
    return Flat(node, {name: ops.Field(node, name) for name in node.schema})


def _renamed(node: ops.Relation) -> Flat:
    """Columns of another table under other names, or the table as it is.

    Nothing is computed there: a part without a row has to give missing values.
    """
    below = _flat(node)
    plain = all(isinstance(v, ops.Field) and v.rel == below.base for v in below.values.values())
    return below if plain else _whole(node)


def _fields(node: Any, values: Mapping[str, ops.Value]) -> dict[Any, Any]:
    return {ops.Field(node, name): value for name, value in values.items()}


def _equated(predicates: Iterable[ops.Value], fields: Mapping[Any, Any]) -> Set[Any]:
    pairs = set()
    for predicate in predicates:
        if not isinstance(predicate, ops.Equals):
            return set()
        pairs.add((fields.get(predicate.left), fields.get(predicate.right)))
    return pairs


def _by_row(values: Iterable[ops.Value]) -> bool:
    return not any(isinstance(node, NOT_BY_ROW) for node in values_below(values))
