"""Links between customers -> persons over time: who belongs to whom from when on, and who does not.

Links are taken in the order in which they became known, so what is known later changes nothing
earlier. A union is refused, and left to a person, where the two clusters contradict each other or
would become too large. A link can end (a shared value gives itself away, a person decides): its
cluster is then made anew of the links that remain.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

SAME, DIFFERENT = "decided: same", "decided: different, or a link ended"
FOREVER = 2**63
SLIPS = 2
"""Letters by which two values may differ and still be one: each may be mistyped once."""
Values = Mapping[int, Sequence[tuple[str, str, int]]]
"""Customer -> what they have one of: column, value, known since."""


class Edge(NamedTuple):
    """Two customers who are one person, from ``known`` until before ``until``."""

    known: int
    confidence: float
    a: int
    b: int
    rule: str
    until: int | None = None


class Change(NamedTuple):
    """From ``known`` on ``customer`` belongs to ``owner``, or to nobody else where they are one."""

    known: int
    customer: int
    owner: int
    rule: str
    confidence: float


class Refusal(NamedTuple):
    """A link that the guards did not follow, and why."""

    edge: Edge
    why: str


class Guards(NamedTuple):
    """What keeps clusters apart."""

    largest: int
    values: Values
    apart: Mapping[int, Mapping[int, int]]
    """Customer -> others that a person holds to be somebody else, and since when; both ways."""


def resolved(
    edges: Iterable[Edge], first_known: Mapping[int, int], guards: Guards
) -> tuple[list[Change], list[Refusal]]:
    """Changes of ownership in the order of time, and links that were refused.

    The owner of a cluster is who was known first: a cluster that grows keeps its owner.

    Parameters
    ----------
    first_known
        When each customer was first known.
    """
    linked = list(edges)
    parts: dict[int, list[Edge]] = defaultdict(list)
    root = _components(linked)
    for edge in linked:
        parts[root[edge.a]].append(edge)
    changes: list[Change] = []
    refusals: list[Refusal] = []
    for part in parts.values():
        found = _Component(part, first_known, guards)
        changes += found.changes
        refusals += found.refusals.values()
    return sorted(changes), sorted(refusals, key=lambda k: (k.edge.a, k.edge.b))


def _components(edges: Iterable[Edge]) -> dict[int, int]:
    root: dict[int, int] = {}

    def find(node: int) -> int:
        root.setdefault(node, node)
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for edge in edges:
        a, b = find(edge.a), find(edge.b)
        root[max(a, b)] = min(a, b)
    return {node: find(node) for node in list(root)}


class _Component:
    """Customers that links reach from each other, played through time."""

    def __init__(self, edges: list[Edge], first_known: Mapping[int, int], guards: Guards) -> None:
        self._first, self._guards = first_known, guards
        # Of one moment what a person decided comes first, then the surer link.
        self._edges = sorted(
            edges,
            key=lambda e: (e.known, e.rule != SAME, -e.confidence, *e[2:5], e.until or FOREVER),
        )
        self._changes: dict[tuple[int, int], Change] = {}
        self.refusals: dict[tuple[int, int], Refusal] = {}
        nodes = {node for edge in edges for node in (edge.a, edge.b)}
        self._owner = {node: node for node in nodes}
        self._cluster = {node: [node] for node in nodes}
        started: dict[int, list[Edge]] = defaultdict(list)
        for edge in self._edges:
            started[edge.known].append(edge)
        ends = {edge.until for edge in edges if edge.until is not None}
        if guards.apart:
            told = (guards.apart.get(node, {}) for node in nodes)
            ends |= {since for others in told for b, since in others.items() if b in nodes}
        for now in sorted(started.keys() | ends):
            if now in ends:
                self._made_anew(now)
            else:
                for edge in started[now]:
                    self._follow(edge, now)

    @property
    def changes(self) -> Iterable[Change]:
        """What became of whom; the last word of each moment."""
        return self._changes.values()

    def _made_anew(self, now: int) -> None:
        """All clusters of the links in force, told as changes of what was before."""
        before, earlier = self._owner, self._changes
        self._owner = {node: node for node in before}
        self._cluster = {node: [node] for node in before}
        self._changes = {}
        for edge in self._edges:
            if edge.known <= now and (edge.until is None or now < edge.until):
                self._follow(edge, now)
        made, self._changes = self._changes, earlier
        for node, owner in self._owner.items():
            if owner != before[node]:
                split = Change(now, node, owner, DIFFERENT, 1.0)
                self._changes[node, now] = made.get((node, now), split)

    def _follow(self, edge: Edge, now: int) -> None:
        one, other = self._cluster[edge.a], self._cluster[edge.b]
        if one is other:
            return
        why = self._why_not(edge, one, other, now)
        pair = (min(edge.a, edge.b), max(edge.a, edge.b))
        if why:
            self.refusals.setdefault(pair, Refusal(edge, why))
            return
        self.refusals.pop(pair, None)
        keeps, joins = sorted((one, other), key=lambda c: self._rank(self._owner[c[0]]))
        owner = self._owner[keeps[0]]
        for node in joins:
            self._owner[node] = owner
            self._cluster[node] = keeps
            self._changes[node, now] = Change(now, node, owner, edge.rule, edge.confidence)
        keeps += joins

    def _rank(self, node: int) -> tuple[int, int]:
        return self._first[node], node

    def _why_not(self, edge: Edge, one: list[int], other: list[int], now: int) -> str:
        for a in one if self._guards.apart else ():
            others = self._guards.apart.get(a, {})
            if any(others.get(b, now + 1) <= now for b in other):
                return DIFFERENT
        if edge.rule == SAME:
            return ""
        if len(one) + len(other) > self._guards.largest:
            return f"more than {self._guards.largest} customers in one"
        mine, theirs = (self._values(cluster, now) for cluster in (one, other))
        torn = sorted(
            k for k in mine.keys() & theirs.keys()
            if not any(_slipped(a, b) for a in mine[k] for b in theirs[k])
        )  # fmt: skip
        return f"contradict each other: {', '.join(torn)}" if torn else ""

    def _values(self, cluster: list[int], now: int) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for node in cluster:
            for column, value, known in self._guards.values.get(node, ()):
                if known <= now:
                    found[column].add(value)
        return found


def _slipped(a: str, b: str) -> bool:
    """Whether two values are one, mistyped in at most ``SLIPS`` places."""
    return len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) <= SLIPS
