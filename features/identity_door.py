"""The command about who is who: report, review queue, a pair's weights, decisions, a fit."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.door import DataDir, Json, Registry, Set, Store, answering, say

if TYPE_CHECKING:
    from features.tables import Stored

Pair = Annotated[
    tuple[str, str] | None, typer.Option(metavar="A B", help="Two of the source's own numbers.")
]


def identity(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Name of a file in configs/data.")
    ],
    review: Annotated[int, typer.Option(help="Show so many pairs that wait for a person.")] = 0,
    weights: Annotated[bool, typer.Option("--weights", help="Show all match weights.")] = False,
    pair: Pair = None,
    same: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="Decide: one person.")
    ] = None,
    different: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="Decide: two persons.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Date from which a decision holds; default: now.")
    ] = None,
    fit: Annotated[
        Path | None, typer.Option(help="Write the fitted weights here, for identity.weights.")
    ] = None,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
    json_: Json = False,
) -> None:
    """Who is who in SOURCE: persons and rules; pairs to review; why two are, or are not, one.

    Decisions are kept in the registry and hold in every later build, from their date on.
    """
    with answering(store, registry, data_dir) as place:
        from features.errors import ConfigError
        from features.identity import customer_ids, customer_key
        from features.ingest import IDENTITY
        from features.linkage.decisions import decide
        from features.pages import text_table
        from features.settings import override
        from features.sources import load_source
        from features.tables import build_tables

        declared = load_source(place, source, override({}, set_))
        if declared.identity is None:
            raise ConfigError(f"source {source!r} declares no identity: each id is a customer")
        for told, one in ((same, True), (different, False)):
            if told is not None:
                ids = customer_ids(source, told, customer_key(place.keys))
                moment = _moment(as_of, declared.time_zone)
                decide(place, source, ids[told[0]], ids[told[1]], one, moment)
                say(f"decided from {moment:%Y-%m-%d %H:%M} on: {'one person' if one else 'two'}")
        stored = build_tables(place, declared)
        facts = json.loads((stored.published.folder / IDENTITY).read_text())
        if fit is not None:
            fit.write_text(json.dumps(facts["model"], indent=1) + "\n")
            say(f"written: {fit}; name it under identity.weights to keep links as they are")
            return
        if pair is not None:
            say(text_table(_waterfall(stored, pair, place.keys)))
            return
        if json_:
            say(json.dumps({k: v for k, v in facts.items() if k != "model"}))
            return
        if weights:
            say(text_table([{k: _word(v) for k, v in row.items()} for row in facts["weights"]]))
            return
        if review:
            say(text_table(_waiting(stored, review)))
            return
        say(_summary(facts))
        say(f"report: {stored.published.folder / IDENTITY}")


def _moment(text: str | None, zone: str) -> datetime:
    from zoneinfo import ZoneInfo

    from features.errors import ConfigError

    try:
        return datetime.fromisoformat(text) if text else datetime.now(ZoneInfo(zone)).replace(
            tzinfo=None
        )  # fmt: skip
    except ValueError:
        raise ConfigError(f"--as-of {text!r}: expected a date such as 2025-06-30") from None


def _pairs(stored: "Stored") -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    from features.ingest import PAIRS

    rows: list[dict[str, Any]] = pq.read_table(stored.published.folder / PAIRS).to_pylist()
    return rows


def _summary(facts: dict[str, Any]) -> list[str]:
    """Numbers of persons, by size, rule and state of their pairs."""
    from features.pages import text_table

    lines = [f"{facts['customers']} ids, {facts['persons']} persons, {facts['records']} records"]
    for counted, word, number in (
        ("sizes", "ids of a person", "persons"),
        ("rules", "rule", "ids"),
        ("pairs", "pairs", "number"),
    ):
        rows = [{word: name, number: str(n)} for name, n in facts[counted].items()]
        lines += [*text_table(rows), ""]
    if facts["unlinkable"] is not None:
        lines.append(
            f"{facts['unlinkable']:.2%} of records say too little to be linked to anything"
        )
    return lines


def _waiting(stored: "Stored", most: int) -> list[dict[str, str]]:
    """Pairs that wait, the likeliest first, by the source's own numbers."""
    from features import columns as c
    from features.linkage.resolve import LINKED

    rows = [row for row in _pairs(stored) if row["state"] != LINKED][:most]
    names = stored.source_ids()
    return [
        {
            "a": names[row[c.CUSTOMER]], "b": names[row[c.OTHER]], "why": row["state"],
            "probability": _word(row["probability"]), "known": f"{row[c.KNOWN_TIME]:%Y-%m-%d}",
        }
        for row in rows
    ]  # fmt: skip


def _waterfall(stored: "Stored", pair: tuple[str, str], keys: Path) -> list[dict[str, str]]:
    """What each column adds to the weight of a pair, from the prior to the probability."""
    from features import columns as c
    from features.errors import DataError
    from features.identity import customer_ids, customer_key

    asked = set(customer_ids(stored.source.name, pair, customer_key(keys)).values())
    found = [row for row in _pairs(stored) if {row[c.CUSTOMER], row[c.OTHER]} == asked]
    if not found or found[0]["weight"] is None:
        raise DataError(
            f"{pair[0]} and {pair[1]}: the model holds no such pair; it keeps those of which all "
            "columns of a block agree and whose probability reaches identity.review_at"
        )
    row = found[0]
    parts = {k.removeprefix("mw_"): v for k, v in row.items() if k.startswith("mw_")}
    prior = row["weight"] - sum(parts.values())
    lines = [{"part": "prior", "weight": _word(prior)}]
    lines += [{"part": k.replace("tf_adj_", "rarity of "), "weight": _word(v)}
              for k, v in parts.items() if v]  # fmt: skip
    lines.append({"part": "sum", "weight": _word(row["weight"])})
    lines.append({"part": "probability", "weight": f"{row['probability']:.6f}"})
    return [*lines, {"part": "state", "weight": row["state"]}]


def _word(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
