"""What many sets need is written down once, and goes by its name where somebody makes it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, overload

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from features.plan import found, inputs_first, needs_of, pruned, replaced

Definitions = dict[str, ir.Table]
"""Expressions by name, in an order in which each names none but those before it."""


class once:  # noqa: N801 - stands where `cached_property` would
    """A property of a view whose expression is worth making once, under the property's name.

    A view with ``definitions`` notes the expression there and gives a table of that name instead:
    what sets make of it stays small, and nobody has to look for it in their expressions. Any other
    view gives the expression itself.
    """

    def __init__(self, build: Callable[[Any], ir.Table]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, view: None, owner: type) -> Self: ...

    @overload
    def __get__(self, view: Any, owner: type) -> ir.Table: ...

    def __get__(self, view: Any, owner: type) -> Any:
        if view is None:
            return self
        known: Definitions = view.__dict__.setdefault("_known", {})  # frozen dataclasses have one
        name = f"made_{self.build.__name__}"
        if name not in known:
            known[name] = self.build(view)
            if view.definitions is not None:
                view.definitions[name] = known[name]
                known[name] = ibis.table(known[name].schema(), name=name)
        return known[name]


def needed(definitions: Mapping[str, ir.Table], tables: Sequence[ir.Table]) -> Definitions:
    """The definitions that ``tables`` name, with no columns but those that somebody uses."""
    roots, chosen = list(tables), Definitions()
    for name, table in reversed(list(definitions.items())):
        used = {
            column
            for node, columns in needs_of(roots).items()
            if isinstance(node, ops.UnboundTable) and node.name == name
            for column in columns
        }
        if used:
            (chosen[name],) = pruned([table.select(*(n for n in table.columns if n in used))])
            roots.append(chosen[name])
    return dict(reversed(list(chosen.items())))


def shared(tables: Sequence[ir.Table]) -> tuple[list[ir.Table], Definitions]:
    """``tables`` with aggregates that several of them read named, and what the names stand for."""
    roots, names = list(tables), dict[str, int]()
    below = [set(found([root], ops.Aggregate)) for root in roots]
    for node in (n for n in reversed(inputs_first(roots)) if isinstance(n, ops.Aggregate)):
        owners = [number for number, nodes in enumerate(below) if node in nodes]
        if len(owners) < 2:
            continue
        name = f"shared_{len(names)}"
        names[name] = len(roots)
        for number in owners:
            (roots[number],) = replaced([roots[number]], {node: _named(name, node)})
            below[number] = set(found([roots[number]], ops.Aggregate))
        roots.append(node.to_expr())
        below.append(set(found([roots[-1]], ops.Aggregate)))
    return roots[: len(tables)], {name: roots[names[name]] for name in reversed(names)}


def _named(name: str, node: ops.Relation) -> ops.Node:
    return ibis.table(node.schema, name=name).op()
