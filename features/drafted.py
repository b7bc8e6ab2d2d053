"""A drafted table: how columns of a file are declared, and what of it asks for a person."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from features import columns as c
from features.canonical import CANONICAL, MINOR
from features.feeds import OTHER_REF, REF, targets
from features.guessing import KINDS, is_money, personal_category, tokens, zone_of
from features.profiling import Look, Looked
from features.schema import Column

FITS = 0.9
"""Share of a column's texts that have to be of a type for it to be taken for that type."""
SURE = 0.995
"""The same for columns that may as well be kept as texts."""
CATEGORIES = {
    "order_lines": "transaction", "products": "product", "customers": "personal",
    "attributes": "attribute", "events": "behaviour", "contacts": "marketing",
    "responses": "marketing", "feedback": "feedback", "loyalty": "transaction",
    "devices": "device", "locations": "location", "relations": "household",
    "merges": "identifier", "subscriptions": "contract", "outcomes": "outcome",
    "consents": "consent",
}  # fmt: skip
YES = {"yes", "y", "true", "t", "1", "ja", "j", "是"}
NO = {"no", "n", "false", "f", "0", "nein", "否"}
FREE_TEXT_LETTERS = 40
FEW_WORDS = 6
RECORDED = "recorded_at"


@dataclass
class Drafted:
    """A table drafted from one file."""

    table: str
    looked: Looked
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Canonical column -> its declaration, as in a YAML."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further keys of the table: rules, returns, known_time, checks."""
    doubts: dict[str, list[str]] = field(default_factory=dict)
    """Canonical column, or "" for the table -> what may be wrong, with counts."""
    used: set[str] = field(default_factory=set)
    """Columns of the file."""

    def doubt(self, column: str, text: str) -> None:
        """Note what may be wrong."""
        self.doubts.setdefault(column, []).append(text)


def fits(look: Look, target: Column) -> bool:
    """Whether the texts of a column are what a canonical column needs."""
    if target.dtype == "timestamp":
        return look.timed >= FITS
    if target.dtype == "bool":
        return sum(n for w, n in look.common if w.lower() in YES | NO) >= FITS * look.filled
    if target.dtype == "int64" and target.unit != MINOR:
        return look.share("integer") >= FITS
    if target.dtype in ("int64", "float64"):
        return max(look.share("number"), commas(look)) >= FITS
    return True


def commas(look: Look) -> float:
    """Share of numbers where the comma is the decimal mark; 0 where none is written so."""
    return (
        (look.counts["comma"] + look.counts["integer"])
        / max(look.filled, 1)
        * bool(look.counts["comma"])
    )


def map_column(found: Drafted, name: str, look: Look, target: Column) -> None:
    """Declare that ``look`` is the canonical column ``name``."""
    entry: dict[str, Any] = {"from": look.name}
    found.used.add(look.name)
    if target.dtype == "timestamp":
        entry |= clock(found, name, look)
    elif target.dtype in ("int64", "float64") and commas(look) > look.share("number"):
        entry["decimal_comma"] = True
    elif target.dtype == "bool":
        entry["map"] = yes_no(look)
    elif name in (REF, OTHER_REF) and look.counts["whole"]:
        entry["extract"] = r"^(\d+)(?:\.0)?$"
        found.doubt(name, f"{look.counts['whole']} of {look.filled} end in .0, which is cut")
    elif name == c.KIND:
        entry |= _kinds(found, look, target)
    if target.unit == MINOR and look.share("integer") >= SURE:
        found.doubt(name, "all are whole: cents already? Then add type: integer")
    empty = look.rows - look.filled
    if name == REF and empty:
        entry["required"] = False
        found.more.setdefault("rules", {})["unknown_customer"] = {
            "when": [{"column": REF, "missing": True}], "then": "filter",
            "why": "nobody to attach the row to",
        }  # fmt: skip
        found.doubt(name, f"{empty} of {look.rows} are empty: these records are filtered")
    elif empty and target.required:
        found.doubt(name, f"{empty} of {look.rows} are empty: these records go to quarantine")
    found.columns[name] = entry | said(found.table, name)


def _kinds(found: Drafted, look: Look, target: Column) -> dict[str, Any]:
    """How the words of a column are brought to ours."""
    ours = KINDS.get(found.table, {})
    words = {word: ours[word.lower()] for word, _ in look.common if word.lower() in ours}
    if target.words and (other := [w for w, _ in look.common if w not in {*words, *target.words}]):
        known, told = ", ".join(target.words), ", ".join(other)
        found.doubt(c.KIND, f"no feature counts these words, map them to {known}: {told}")
    return {"map": words, "unmapped": "keep"} if words else {}


def said(table: str, name: str) -> dict[str, Any]:
    """Category and purposes of a column."""
    category = CATEGORIES[table]
    if name in (REF, OTHER_REF, "device_id"):
        category = "identifier"
    elif name == "gender":
        category = "audit"
    return {"category": category, "purposes": ["analytics"]}


def clock(found: Drafted, name: str, look: Look) -> dict[str, Any]:
    """How the times of a column are read."""
    formats = [format for format, _ in look.times]
    entry: dict[str, Any] = {"format": formats[0] if len(formats) == 1 else formats}
    if zone := zone_of(formats):
        entry["zone"] = zone
    if len(formats) > 1:
        counts = ", ".join(f"{n} as {format}" for format, n in look.times)
        found.doubt(name, f"{len(formats)} formats of times: {counts}")
    if lost := look.filled - sum(n for _, n in look.times):
        found.doubt(name, f"{lost} of {look.filled} are no time that is known here")
    if look.twin:
        found.doubt(name, f"day or month first? all fit {look.twin}, too")
    return entry


def yes_no(look: Look) -> dict[str, bool]:
    """The words of a column that mean yes or no."""
    return {word: word.lower() in YES for word, _ in look.common if word.lower() in YES | NO}


def map_open_columns(found: Drafted, rest: list[Look]) -> None:
    """Declare columns that no canonical one waits for, in a table that takes them."""
    for look in rest:
        name = "_".join(tokens(look.name))
        name = name if re.fullmatch("[a-z][a-z0-9_]*", name) else f"column_{len(found.columns)}"
        entry: dict[str, Any] = {"from": look.name, "type": "text"}
        words = {word.lower() for word, _ in look.common}
        comma = commas(look) > look.share("number")
        number = max(commas(look), look.share("number")) >= SURE and not look.counts["zeros"]
        if look.distinct == 2 and words <= YES | NO and not words <= {"0", "1"}:
            entry |= {"type": "boolean", "map": yes_no(look)}
        elif look.timed >= SURE and look.share("integer") < FITS:
            entry |= {"type": "timestamp", **clock(found, name, look)}
        elif number and is_money(look.name):
            name, entry["type"] = f"{name}_minor", "money"
        elif look.share("integer") >= SURE and not look.counts["zeros"]:
            entry["type"] = "integer"
        elif number:
            entry["type"] = "number"
        if comma and entry["type"] in ("money", "number"):
            entry["decimal_comma"] = True
        if name in found.columns or name in targets(CANONICAL["attributes"]):
            name = f"{name}_{len(found.columns)}"
        found.columns[name] = entry | said("attributes", name)
        found.used.add(look.name)


def withheld(look: Look) -> str:
    """Why a column is not loaded on its own account; empty where it may be."""
    for test, what in (("email", "e-mail addresses"), ("phone", "telephone numbers")):
        if look.share(test) >= 0.6 and look.timed < FITS:
            return f"personal (contact): {look.counts[test]} of {look.filled} look like {what}"
    if category := personal_category(look.name):
        return f"personal ({category}), by its name"
    if not look.filled:
        return "empty in all records looked at"
    if look.length > FREE_TEXT_LETTERS and look.distinct > look.filled / 2:
        return f"free text of {look.length:.0f} letters on average"
    if look.unique and max(look.share("number"), look.timed) < FITS:
        return "another value in every record: an identifier?"
    return ""


def loadable(look: Look) -> bool:
    """Whether nothing speaks against loading a column."""
    return not withheld(look)


def unloaded(looked: Looked, used: set[str]) -> Iterator[str]:
    """A remark for each column of a file that no drafted table reads."""
    for look in looked.columns.values():
        if look.name not in used:
            yield f"{look.name}: {withheld(look) or f'{_seems(look)}; nothing here waits for it'}"


def _seems(look: Look) -> str:
    """What a column holds, in words."""
    if look.timed >= FITS:
        return f"times as {' or '.join(format for format, _ in look.times)}"
    if max(look.share("number"), commas(look)) >= FITS:
        whole = "whole " if look.share("integer") >= FITS else ""
        comma = " with decimal commas" if commas(look) > look.share("number") else ""
        return f"{whole}numbers{comma}"
    if look.distinct <= FEW_WORDS:
        return f"the words {', '.join(word for word, _ in look.common)}"
    return f"{look.distinct} different texts"
