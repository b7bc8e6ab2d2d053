"""Identifiers of a source -> links, merges, and the pairs that a person should look at.

The only tables that leave hold customer numbers, rules, weights and times. What was compared lives
in one in-memory database and goes with it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.canonical import LINKS, MERGES
from features.engine import connect
from features.linkage.clusters import SAME, Change, Edge, Guards, Refusal, resolved
from features.linkage.declared import Identity, Key
from features.linkage.model import KNOWN, PERSON, RECORD, Scorer, weight_of
from features.linkage.normal import normalised

MODEL_RULE = "model"
UNLIKE = 0.9
"""Jaro-Winkler similarity below which two names speak against one person."""
DOUBTFUL, LINKED = "doubtful", "linked"


@dataclass(frozen=True)
class Decision:
    """What a person said about two customers: one person, or two; business time."""

    a: int
    """The lower number of the two."""
    b: int
    same: bool
    at: int
    """Microseconds since 1970."""


@dataclass(frozen=True)
class Resolution:
    """Who is who."""

    links: pa.Table
    merges: pa.Table
    """Rows of the canonical table: changes of ownership over time."""
    pairs: pa.Table
    """Pairs of customers: ``customer_id``, ``other_customer_id``, ``state`` (linked, or why it
    waits for a person), ``weight`` and the ``mw_*`` that it adds up, ``probability``,
    ``known_time``; sorted by weight."""
    facts: dict[str, Any]
    """Counts, cluster sizes, rules, unlinkable share, match weights; nothing of any person."""
    model: dict[str, Any] | None
    """Splink's settings with all weights; None where keys alone decide."""


def resolve(
    links: pa.Table,
    identifiers: pa.Table,
    declared: Identity,
    folder: Path,
    weights: Mapping[str, Any] | None = None,
    decisions: Sequence[Decision] = (),
) -> Resolution:
    """Find the persons behind the customers of ``links``.

    Parameters
    ----------
    links
        One row per source id, each its own customer.
    identifiers
        Rows of the canonical table of that name.
    folder
        Where the engine may spill; it is left empty.
    weights
        Splink's settings of an earlier fit.

    Raises
    ------
    DataError
        If a block holds no pair to fit weights on.
    """
    backend = connect(folder)
    try:
        connection = backend.con
        _make_records(connection, identifiers, declared)
        first = _first_known(links)
        edges: list[Edge] = []
        for name, key in declared.keys.items():
            edges += _key_edges(connection, name, key)
        scored: pa.Table | None = None
        scorer: Scorer | None = None
        if declared.block:
            frame = connection.sql(_scored_columns(declared)).to_arrow_table()
            scorer = Scorer(connection, frame, declared, weights)
            edges += _model_edges(connection, scorer.pairs(), declared)
            scored = _best_pairs(connection, declared)
        decisions = [k for k in decisions if k.a in first and k.b in first]  # others were erased
        edges += [Edge(k.at, 1.0, k.a, k.b, SAME) for k in decisions if k.same]
        guards = Guards(declared.largest, _values(connection, declared), _apart(decisions))
        changes, refused = resolved(edges, first, guards)
        facts = {
            "records": connection.table("records").shape[0],
            "unlinkable": round(scorer.unlinkable(declared.link_at), 4) if scorer else None,
            "weights": scorer.weights() if scorer else [],
        }
    finally:
        backend.disconnect()
    last = {change.customer: change for change in changes}
    owner = {k: change.owner for k, change in last.items() if change.owner != k}
    pairs = _pairs(scored, refused, owner, declared)
    resolved_links = _links(links, last)
    sizes = Counter(Counter(resolved_links[c.CUSTOMER].to_pylist()).values())
    rules = Counter(resolved_links["rule"].to_pylist())
    states = Counter(pairs["state"].to_pylist())
    facts |= {
        "customers": links.num_rows,
        "persons": sum(sizes.values()),
        "sizes": {str(size): n for size, n in sorted(sizes.items())},
        "rules": dict(sorted(rules.items())),
        "pairs": dict(sorted(states.items())),
    }
    return Resolution(
        resolved_links, _merges(changes), pairs, facts, scorer.model if scorer else None
    )


# --- records --------------------------------------------------------------------------------------


def _make_records(connection: Any, identifiers: pa.Table, declared: Identity) -> None:
    """One row per customer and distinct set of normal forms: the first that gave it."""
    countries = _countries(identifiers, declared)
    forms = {
        name: normalised(identifiers[name], kind, countries)
        for name, kind in declared.columns.items()
    }
    known = identifiers[c.KNOWN_TIME].cast(pa.int64())
    taken = {RECORD: identifiers[c.ROW], PERSON: identifiers[c.CUSTOMER], KNOWN: known, **forms}
    connection.register("given", pa.table(taken))
    named = ", ".join(_quoted(name) for name in declared.columns)
    blocks = "".join(f", {_block(block, declared.block_at_most)} AS block_{k}"
                     for k, block in enumerate(declared.block))  # fmt: skip
    connection.execute(
        f"CREATE TEMP TABLE records AS SELECT *{blocks} FROM ("
        f"SELECT min({RECORD}) AS {RECORD}, {PERSON}, min({KNOWN}) AS {KNOWN}, {named} "
        f"FROM given GROUP BY {PERSON}, {named}) ORDER BY {RECORD}"
    )
    connection.unregister("given")


def _countries(identifiers: pa.Table, declared: Identity) -> pa.ChunkedArray | None:
    fixed = declared.country
    if declared.country_column is None:
        return None if fixed is None else pa.chunked_array(
            [pa.repeat(fixed, identifiers.num_rows)]
        )  # fmt: skip
    column = pc.utf8_upper(identifiers[declared.country_column])
    return pc.fill_null(column, fixed) if fixed else column


def _block(columns: Sequence[str], most: int) -> str:
    """What records of a block share; missing where a column is, or where too many share it."""
    names = [_quoted(name) for name in columns]
    given = " AND ".join(f"{name} IS NOT NULL" for name in names)
    joined = f"concat_ws(chr(31), {', '.join(names)})"
    size = f"count(*) OVER (PARTITION BY {', '.join(names)})"
    return f"CASE WHEN {given} AND {size} <= {most} THEN {joined} END"


def _scored_columns(declared: Identity) -> str:
    names = dict.fromkeys([*declared.compared, *(k for block in declared.block for k in block)])
    blocks = [f"block_{k}" for k in range(len(declared.block))]
    columns = ", ".join(map(_quoted, [RECORD, PERSON, KNOWN, *names, *blocks]))
    return f"SELECT {columns} FROM records ORDER BY {RECORD}"


def _quoted(name: str) -> str:
    return f'"{name}"'


# --- links ----------------------------------------------------------------------------------------


def _key_edges(connection: Any, rule: str, key: Key) -> list[Edge]:
    """Pairs of customers with one value; from the moment that too many have it, no longer."""
    names = [_quoted(name) for name in key.columns]
    given = " AND ".join(f"{name} IS NOT NULL" for name in names)
    alike = "".join(
        f" AND coalesce(jaro_winkler_similarity(l.{_quoted(n)}, r.{_quoted(n)}), 1) >= {UNLIKE}"
        for n in key.unless_differs
    )
    rows = connection.sql(f"""
        WITH held AS (
            SELECT *, concat_ws(chr(31), {", ".join(names)}) AS value FROM records WHERE {given}),
        since AS (
            SELECT value, {PERSON}, min({KNOWN}) AS since FROM held GROUP BY value, {PERSON}),
        ranked AS (
            SELECT *, row_number() OVER (PARTITION BY value ORDER BY since, {PERSON}) AS place
            FROM since),
        crowded AS (
            SELECT value, since AS until FROM ranked WHERE place = {key.shared_by_at_most + 1}),
        able AS (
            SELECT held.* FROM held JOIN ranked USING (value, {PERSON})
            WHERE place <= {key.shared_by_at_most})
        SELECT l.{PERSON}, r.{PERSON}, min(greatest(l.{KNOWN}, r.{KNOWN})) AS both_known, min(until)
        FROM able l JOIN able r ON l.value = r.value AND l.{PERSON} < r.{PERSON}{alike}
        LEFT JOIN crowded ON crowded.value = l.value
        GROUP BY l.value, l.{PERSON}, r.{PERSON}
        HAVING min(until) IS NULL OR both_known < min(until)
        """).fetchall()
    return [Edge(known, key.confidence, a, b, rule, until) for a, b, known, until in rows]


def _model_edges(connection: Any, scored: str, declared: Identity) -> list[Edge]:
    """For each pair of customers the first two records that the model holds to be one person."""
    rows = connection.sql(f"""
        SELECT least({PERSON}_l, {PERSON}_r) AS a, greatest({PERSON}_l, {PERSON}_r) AS b,
            greatest({KNOWN}_l, {KNOWN}_r) AS both_known, 1 / (1 + pow(2, -weight)) AS probability
        FROM {scored} WHERE weight >= {weight_of(declared.link_at)!r}
        QUALIFY row_number() OVER (PARTITION BY a, b ORDER BY both_known, weight DESC) = 1
        """).fetchall()
    return [Edge(known, round(sure, 6), a, b, MODEL_RULE) for a, b, known, sure in rows]


def _best_pairs(connection: Any, declared: Identity) -> pa.Table:
    """For each pair of customers worth showing its best records' weights, part by part."""
    found = connection.sql(f"""
        SELECT least({PERSON}_l, {PERSON}_r) AS {c.CUSTOMER},
            greatest({PERSON}_l, {PERSON}_r) AS {c.OTHER},
            make_timestamp(greatest({KNOWN}_l, {KNOWN}_r)) AS {c.KNOWN_TIME},
            weight, 1 / (1 + pow(2, -weight)) AS probability, COLUMNS('^mw_')
        FROM scored WHERE weight >= {weight_of(declared.review_at)!r}
        QUALIFY row_number() OVER (
            PARTITION BY {c.CUSTOMER}, {c.OTHER} ORDER BY weight DESC, {RECORD}_l, {RECORD}_r) = 1
        ORDER BY weight DESC, {c.CUSTOMER}, {c.OTHER}
        """)
    return found.to_arrow_table()


def _first_known(links: pa.Table) -> dict[int, int]:
    known = links[c.KNOWN_TIME].cast(pa.int64()).to_pylist()
    return dict(zip(links[c.CUSTOMER].to_pylist(), known, strict=True))


def _values(connection: Any, declared: Identity) -> dict[int, list[tuple[str, str, int]]]:
    found: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
    for name in declared.one_each:
        rows = connection.sql(
            f"SELECT {PERSON}, {_quoted(name)} AS value, min({KNOWN}) FROM records "
            f"WHERE value IS NOT NULL GROUP BY {PERSON}, value"
        ).fetchall()
        for person, value, known in rows:
            found[person].append((name, value, known))
    return found


def _apart(decisions: Iterable[Decision]) -> dict[int, dict[int, int]]:
    """The last word on each pair counts."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for decision in sorted(decisions, key=lambda k: k.at):
        for a, b in ((decision.a, decision.b), (decision.b, decision.a)):
            if decision.same:
                found[a].pop(b, None)
            else:
                found[a][b] = decision.at
    return found


# --- what leaves ----------------------------------------------------------------------------------


def _links(links: pa.Table, last: Mapping[int, Change]) -> pa.Table:
    numbers = links[c.CUSTOMER].to_pylist()
    columns = {name: links[name].to_pylist() for name in (c.CUSTOMER, "rule", "confidence")}
    known = links[c.KNOWN_TIME].cast(pa.int64()).to_pylist()
    columns[c.ACCOUNT] = numbers
    for row, number in enumerate(numbers):
        change = last.get(number)
        if change is not None and change.owner != number:
            columns[c.CUSTOMER][row], columns["rule"][row] = change.owner, change.rule
            columns["confidence"][row], known[row] = change.confidence, change.known
    made = {"source": links["source"], "source_id": links["source_id"], **columns,
            c.KNOWN_TIME: pa.array(known, pa.int64()).cast(pa.timestamp("us"))}  # fmt: skip
    return pa.table([made[name] for name in LINKS.arrow.names], schema=LINKS.arrow)


def _merges(changes: Sequence[Change]) -> pa.Table:
    by_customer = sorted(changes, key=lambda k: (k.customer, k.known))
    when = pa.array([k.known for k in by_customer], pa.int64()).cast(pa.timestamp("us"))
    made = {
        c.CUSTOMER: [k.customer for k in by_customer], c.EVENT_TIME: when, c.KNOWN_TIME: when,
        c.OTHER: [k.owner for k in by_customer], c.ROW: list(range(len(by_customer))),
    }  # fmt: skip
    return pa.table([made[name] for name in MERGES.arrow.names], schema=MERGES.arrow)


def _pairs(
    scored: pa.Table | None, refused: Sequence[Refusal], owner: Mapping[int, int],
    declared: Identity,
) -> pa.Table:  # fmt: skip
    """Scored pairs and refused ones with their state; those of one person anyway are linked."""
    why = {(k.edge.a, k.edge.b): k for k in refused}

    def state(a: int, b: int, weight: float | None) -> str:
        if owner.get(a, a) == owner.get(b, b):
            return LINKED
        if (a, b) in why:
            return why[a, b].why
        return DOUBTFUL

    if scored is None:
        names = (c.CUSTOMER, c.OTHER, c.KNOWN_TIME, "weight", "probability")
        kinds = (pa.int64(), pa.int64(), pa.timestamp("us"), pa.float64(), pa.float64())
        scored = pa.schema(list(zip(names, kinds, strict=True))).empty_table()
    there = list(zip(scored[c.CUSTOMER].to_pylist(), scored[c.OTHER].to_pylist(), strict=True))
    unscored = [why[pair] for pair in sorted(why.keys() - set(there))]
    more = pa.table({
        c.CUSTOMER: pa.array([k.edge.a for k in unscored], pa.int64()),
        c.OTHER: pa.array([k.edge.b for k in unscored], pa.int64()),
        c.KNOWN_TIME: pa.array([k.edge.known for k in unscored], pa.int64()).cast(
            pa.timestamp("us")
        ),
    })  # fmt: skip
    table = pa.concat_tables([scored, more], promote_options="default")
    states = [state(a, b, None) for a, b in there] + [
        state(k.edge.a, k.edge.b, None) for k in unscored
    ]
    return table.add_column(2, "state", pa.array(states, pa.string()))
