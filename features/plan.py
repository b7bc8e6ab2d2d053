"""Rewriting expressions before they run: unused columns go, equal passes become one.

Feature sets are written apart and say everything they can. What a run needs of them is often less,
and many aggregate the same rows by the same keys. Both are seen in the expressions themselves, so
sets stay plain Ibis.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

Needs = dict[ops.Node, set[str]]


def replaced(tables: Sequence[ir.Table], nodes: Mapping[Any, Any]) -> list[ir.Table]:
    """The tables with each node that is a key of ``nodes`` exchanged."""
    if not nodes:
        return list(tables)
    return [table.op().replace(dict(nodes)).to_expr() for table in tables]


def found(tables: Iterable[ir.Table], kind: type[ops.Node]) -> list[Any]:
    """The different nodes of a kind below ``tables``, in a fixed order."""
    nodes: dict[ops.Node, None] = {}
    for table in tables:
        nodes |= dict.fromkeys(table.op().find(kind))
    return list(nodes)


# --- unused columns -------------------------------------------------------------------------


def pruned(tables: Sequence[ir.Table]) -> list[ir.Table]:
    """The same tables without the columns below them that none of them needs."""
    needs = needs_of(tables)

    def rewrite(node: ops.Node, changed: dict[str, Any] | None) -> ops.Node:
        if isinstance(node, ops.Relation) and node not in needs:
            return node  # what read it goes
        if type(node) in _REWRITES:
            names = [name for name in node.schema if name in needs[node]]
            arguments = changed or dict(zip(node.__argnames__, node.__args__, strict=True))
            if isinstance(node, ops.JoinChain):
                links = _links_used(node, [node.values[name] for name in names])
                rest = dict(zip(node.rest, arguments["rest"], strict=True))
                arguments["rest"] = tuple(rest[link] for link in links)
            return _REWRITES[type(node)](arguments, names)
        if isinstance(node, ops.Field) and node.name not in needs.get(node.rel, ()):
            return node  # the value it is part of goes, too
        return node.__recreate__(changed) if changed else node

    return [table.op().replace(rewrite).to_expr() for table in tables]


def needs_of(tables: Sequence[ir.Table]) -> Needs:
    """Which columns of each relation somebody uses; consumers are asked before their inputs.

    Relations that nobody reads any more are not among the keys.
    """
    needs: Needs = {}
    for table in tables:
        needs.setdefault(table.op(), set()).update(table.columns)
    for node in reversed(inputs_first(tables)):
        if node not in needs:
            continue
        wanted = needs[node]
        if not wanted:  # it may still be counted
            wanted.add(next(iter(node.schema)))
        if isinstance(node, ops.Project):
            needs.setdefault(node.parent, set())
            _use(needs, [v for n, v in node.values.items() if n in wanted])
        elif isinstance(node, ops.Aggregate):
            needs.setdefault(node.parent, set())
            _use(needs, [*node.groups.values()])
            _use(needs, [v for n, v in node.metrics.items() if n in wanted])
        elif isinstance(node, ops.JoinChain):
            values = [v for n, v in node.values.items() if n in wanted]
            links = _links_used(node, values)
            for table in (node.first, *(link.table for link in links)):
                needs.setdefault(table, set())
            _use(needs, [*values, *(p for link in links for p in link.predicates)])
        elif isinstance(node, ops.Filter | ops.Reference | ops.DropColumns):
            needs.setdefault(node.parent, set()).update(wanted)
            _use(needs, getattr(node, "predicates", ()))
        elif isinstance(node, ops.Union) and not node.distinct:
            needs.setdefault(node.left, set()).update(wanted)
            needs.setdefault(node.right, set()).update(wanted)
        else:
            for whole in map(_relation, _directly(node.__children__)):
                needs.setdefault(whole, set()).update(whole.schema)
    return needs


def _links_used(node: ops.JoinChain, values: Sequence[ops.Node]) -> list[ops.JoinLink]:
    """The joins without left ones that bring at most one row and no column that is wanted."""
    used, kept = {field.rel for field in _directly(values) if isinstance(field, ops.Field)}, []
    for link in reversed(node.rest):
        if link.how == "left" and link.table not in used and _brings_one_row(link):
            continue
        kept.append(link)
        used |= {f.rel for f in _directly(link.predicates) if isinstance(f, ops.Field)}
    return kept[::-1]


def _brings_one_row(link: ops.JoinLink) -> bool:
    """Whether the joined rows are aggregates by columns that the join holds equal."""
    names: set[str] = set()
    for predicate in link.predicates:
        if not isinstance(predicate, ops.Equals):
            return False
        sides = (predicate.left, predicate.right)
        names |= {f.name for f in sides if isinstance(f, ops.Field) and f.rel == link.table}
    node = link.table.parent
    while isinstance(node, ops.Project | ops.Filter):
        if isinstance(node, ops.Project):
            values = [node.values[name] for name in names]
            names = {v.name for v in values if isinstance(v, ops.Field) and v.rel == node.parent}
        node = node.parent
    return isinstance(node, ops.Aggregate) and set(node.groups) <= names


def _use(needs: Needs, values: Iterable[ops.Node]) -> None:
    for node in _directly(values):
        relation = _relation(node)
        if isinstance(node, ops.Field):
            needs.setdefault(relation, set()).add(node.name)
        elif isinstance(node, ops.CountStar):
            needs.setdefault(relation, set())
        else:
            needs.setdefault(relation, set()).update(relation.schema)


def inputs_first(tables: Sequence[ir.Table]) -> list[ops.Relation]:
    """The relations of ``tables``, each after those that it reads."""
    order: dict[ops.Relation, None] = {}

    def visit(node: ops.Relation) -> None:
        if node not in order:
            for below in map(_relation, _directly(node.__children__)):
                visit(below)
            order[node] = None

    for table in tables:
        visit(table.op())
    return list(order)


def values_below(nodes: Iterable[Any]) -> Iterator[Any]:
    """``nodes`` and what they are made of, relations among them but nothing below those."""
    seen, stack = set(), list(nodes)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if isinstance(node, ops.CountStar):
            stack += [] if node.where is None else [node.where]
        elif not isinstance(node, ops.Field | ops.Relation):
            stack += node.__children__


def _directly(nodes: Iterable[ops.Node]) -> list[Any]:
    """The fields, counts of rows and whole relations in ``nodes``, not looking into relations."""
    kinds = (ops.Field, ops.Relation, ops.CountStar)
    return [node for node in values_below(nodes) if isinstance(node, kinds)]


def _relation(node: ops.Node) -> Any:
    """The relation that a field, a count of rows, or a relation is about."""
    if isinstance(node, ops.Field):
        return node.rel
    return node.arg if isinstance(node, ops.CountStar) else node


def _project(arguments: dict[str, Any], names: list[str]) -> ops.Node:
    return ops.Project(arguments["parent"], {n: arguments["values"][n] for n in names})


def _aggregate(arguments: dict[str, Any], names: list[str]) -> ops.Node:
    metrics = {n: v for n, v in arguments["metrics"].items() if n in names}
    return ops.Aggregate(arguments["parent"], arguments["groups"], metrics)


def _join(arguments: dict[str, Any], names: list[str]) -> ops.Node:
    values = {n: arguments["values"][n] for n in names}
    return ops.JoinChain(arguments["first"], arguments["rest"], values)


def _drop(arguments: dict[str, Any], names: list[str]) -> ops.Node:
    return _only(arguments["parent"], names)


def _union(arguments: dict[str, Any], names: list[str]) -> ops.Node:
    if arguments["distinct"]:
        return ops.Union(**arguments)
    return ops.Union(
        _only(arguments["left"], names), _only(arguments["right"], names), distinct=False
    )


def _only(parent: ops.Relation, names: list[str]) -> ops.Node:
    return ops.Project(parent, {name: ops.Field(parent, name) for name in names})


_REWRITES: dict[type, Callable[[dict[str, Any], list[str]], ops.Node]] = {
    ops.Project: _project,
    ops.Aggregate: _aggregate,
    ops.JoinChain: _join,
    ops.DropColumns: _drop,
    ops.Union: _union,
}


# --- filters --------------------------------------------------------------------------------


def without_filters(table: ir.Table) -> ir.Table:
    """``table`` with aggregates of some rows made of values that are missing in the others.

    The result is the same. DuckDB copies every column of a pass for each filter in it.
    """

    def rewrite(node: ops.Node, changed: dict[str, Any] | None) -> ops.Node:
        node = node.__recreate__(changed) if changed else node
        if not isinstance(node, _OF_VALUES) or node.where is None:
            return node
        value = 1 if isinstance(node, ops.CountStar) else node.arg.to_expr()
        inside = ibis.ifelse(node.where.to_expr(), value, None).op()
        return ops.Count(inside) if isinstance(node, ops.CountStar) else type(node)(inside)

    return table.op().replace(rewrite).to_expr()


_OF_VALUES = (ops.CountStar, ops.Count, ops.Sum, ops.Min, ops.Max)
"""Aggregates that pass over missing values."""


# --- equal passes ---------------------------------------------------------------------------


def one_pass(
    tables: Sequence[ir.Table], keep: Callable[[str, ir.Table], ir.Table]
) -> list[ir.Table]:
    """The same tables, with aggregates of the same rows by the same keys made in one pass.

    Parameters
    ----------
    keep
        Computes an expression into a temporary table of a name.
    """
    groups: dict[Any, list[ops.Aggregate]] = defaultdict(list)
    for node in found(tables, ops.Aggregate):
        groups[node.parent, tuple(node.groups.items())].append(node)
    changed: dict[ops.Node, ops.Node] = {}
    for number, nodes in enumerate(alike for alike in groups.values() if len(alike) > 1):
        names: dict[ops.Node, str] = {}
        for node in nodes:
            for metric in node.metrics.values():
                names.setdefault(metric, f"m{len(names)}")
        metrics = {name: metric for metric, name in names.items()}
        whole = ops.Aggregate(nodes[0].parent, nodes[0].groups, metrics)
        made = keep(f"pass_{number}", whole.to_expr())
        for node in nodes:
            values = {name: made[names[metric]] for name, metric in node.metrics.items()}
            changed[node] = made.select(*node.groups, **values).op()
    return replaced(tables, changed)
