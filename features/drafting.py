"""Which canonical tables a file seems to hold, and a draft of each.

Guesses come of names (:mod:`features.guessing`) and of what the columns look like
(:mod:`features.profiling`); each guess that may be wrong leaves a doubt with its evidence.
"""

import re
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.canonical import CANONICAL, MINOR
from features.drafted import (
    FITS,
    RECORDED,
    YES,
    Drafted,
    clock,
    loadable,
    map_column,
    map_open_columns,
    said,
)
from features.feeds import REF, UNIT_PRICE, targets
from features.guessing import CURRENCY, ID, KNOWN, LABELS, UNDATED, WORDS, likeness, tokens
from features.matching import LEAST, Match, matched
from features.profiling import Look, Looked


def draft(looked: Looked) -> list[Drafted]:
    """The tables that a file seems to hold; none where nothing fits."""
    best = max(
        (match for match in (matched(looked, table) for table in WORDS) if match.says),
        key=lambda match: match.score,
        default=None,
    )
    clocks = [k for k in looked.columns.values() if k.timed >= FITS and loadable(k)]
    ref = customer_column(looked)
    one_each = ref.unique if ref else _label(looked) is not None
    wide = len(looked.columns) >= 4 and one_each and not clocks
    if best is None or (wide and best.table in ("customers", "outcomes")):
        return _snapshot(looked, ref) if wide else []
    found = _drafted(best)
    rest = [k for k in looked.columns.values() if k.name not in found.used and loadable(k)]
    if best.table == "customers" and found.columns[REF].get("from") and rest:
        return [found, _attributes(looked, found, rest)]
    goods = _goods(found) if best.table == "order_lines" else None
    return [found] if goods is None else [found, goods]


def nearest(looked: Looked) -> str:
    """Of a file that is like no table: what the likeliest one lacks. Empty where none is near."""
    lacking = [match for match in (matched(looked, table) for table in WORDS) if match.missing]
    near = max(lacking, key=lambda match: match.score, default=None)
    if near is None or near.score <= 0:
        return ""
    has = ", ".join(
        f"{name} ({near.columns[name].name})" for name in WORDS[near.table] if name in near.columns
    )
    return f"nearest to {near.table}: it has {has}, and lacks {', '.join(near.missing)}"


def customer_column(looked: Looked) -> Look | None:
    """The column that numbers the customers."""
    best = max(looked.columns.values(), key=lambda k: likeness(k.name, ID), default=None)
    if best is not None and likeness(best.name, ID) >= LEAST:
        return best
    return next(
        (k for k in looked.columns.values() if tokens(k.name) == ("id",) and k.unique), None
    )


# --- columns --------------------------------------------------------------------------------------


def _drafted(match: Match) -> Drafted:
    table, columns = match.table, match.columns
    found, wanted = Drafted(table, match.looked), targets(CANONICAL[table])
    priced = UNIT_PRICE in columns
    for name in WORDS[table]:
        if name == c.AMOUNT and priced:
            if name in columns:
                found.doubt(
                    UNIT_PRICE,
                    f"{columns[name].name} may be the line's amount, less "
                    f"discounts: then take it, as {c.AMOUNT}, instead of the price",
                )
        elif name in columns:
            map_column(found, name, columns[name], wanted[name])
            if name in match.guessed:
                found.doubt(name, match.guessed[name])
        elif name in match.stand_ins:
            found.columns[name] = dict(match.stand_ins[name])
            if "from" in found.columns[name]:
                found.columns[name] |= said(table, name)
                found.doubt(name, "no column says it: taken to be one order per customer and time")
            else:
                found.doubt(name, "no column says it: taken to be the same for the whole file")
        elif name == c.EVENT_TIME:
            found.columns[name] = {"constant": UNDATED}
            found.doubt(name, "no column is a clock: give the date that the file is of")
    if c.EVENT_TIME in columns:
        _known(found)
    _currency(found)
    if table == "order_lines":
        _order_rules(found)
    if table in ("products", "customers"):
        key = columns[REF if table == "customers" else c.PRODUCT]
        if key.unique:
            name = c.CUSTOMER if table == "customers" else c.PRODUCT
            found.more["checks"] = {"one_row_each": {"column": name, "unique": True,
                                                     "severity": "warn"}}  # fmt: skip
        elif table == "customers":
            found.doubt(REF, f"{key.distinct} customers in {key.filled} records: of one customer "
                        "the last known counts")  # fmt: skip
    return found


def _known(found: Drafted) -> None:
    """A second clock, where there is one."""
    rest = [
        k for k in found.looked.columns.values() if k.name not in found.used and k.timed >= FITS
    ]
    best = max(rest, key=lambda k: likeness(k.name, KNOWN), default=None)
    if best is None or likeness(best.name, KNOWN) < LEAST:
        found.doubt("", "no clock says when a row became known: taken as known when it happened")
        return
    found.used.add(best.name)
    entry = {"from": best.name, "type": "timestamp", **clock(found, RECORDED, best)}
    found.columns[RECORDED] = entry | said(found.table, RECORDED)
    found.more["known_time"] = RECORDED


def _currency(found: Drafted) -> None:
    """The column that names the currency of amounts."""
    amounts = {n for n, k in targets(CANONICAL[found.table]).items() if k.unit == MINOR}
    if not (amounts | {UNIT_PRICE}) & found.columns.keys():
        return
    rest = [k for k in found.looked.columns.values() if k.name not in found.used and k.filled]
    best = max(rest, key=lambda k: likeness(k.name, CURRENCY), default=None)
    if best is not None and likeness(best.name, CURRENCY) >= LEAST:
        found.used.add(best.name)
        found.more["currency"] = best.name


def _order_rules(found: Drafted) -> None:
    """What takes goods back, and lines without a price."""
    file, columns = found.looked.columns, found.columns
    paid = UNIT_PRICE if UNIT_PRICE in columns else c.AMOUNT
    price = file[columns[paid]["from"]]
    counted = columns[c.QUANTITY].get("from")
    if counted and (back := file[counted].counts["negative"]):
        found.more["returns"] = [{"column": c.QUANTITY, "below": 0}]
        found.doubt(c.QUANTITY, f"{back} of {file[counted].filled} are below 0: taken for returns")
    elif price.counts["negative"]:
        found.doubt(paid, f"{price.counts['negative']} of {price.filled} are below 0: returns?")
    free = sum(n for word, n in price.common if re.fullmatch(r"0+([.,]0*)?", word))
    if free:
        found.doubt(paid, f"{free} of {price.filled} are 0: sales, or gifts to filter by a rule?")


# --- what is sold ---------------------------------------------------------------------------------

WORDS_OF_GOODS = ("name", c.CATEGORY, "brand")
LEAST_TIMES, LEAST_AGREEMENT = 2.0, 0.8
"""What a product is called stands beside it whenever it is sold; who bought it differs."""


def _goods(lines: Drafted) -> Drafted | None:
    """What a list of purchases says of the goods themselves; None where it says nothing."""
    looked, code = lines.looked, lines.columns[c.PRODUCT].get("from")
    found, wanted = Drafted("products", looked), targets(CANONICAL["products"])
    if code is None:
        return None
    for name in (c.PRODUCT, c.EVENT_TIME, RECORDED):
        if name in lines.columns:
            found.columns[name] = lines.columns[name] | said("products", name)
    told = []
    for name in WORDS_OF_GOODS:
        alike = {
            k.name: likeness(k.name, WORDS["products"][name])
            for k in looked.columns.values()
            if k.name not in lines.used | found.used and loadable(k)
        }
        best = max(alike, key=lambda n: alike[n], default="")
        if alike.get(best, 0) < LEAST:
            continue
        agree = _agreement(looked, code, best)
        if agree >= LEAST_AGREEMENT:
            map_column(found, name, looked.columns[best], wanted[name])
            told.append(name)
            if agree < 1:
                found.doubt(name, f"{1 - agree:.1%} of records say something else of a product "
                            "than most do: the last known counts")  # fmt: skip
    if not told:
        return None
    found.more = {k: v for k, v in lines.more.items() if k == "known_time"}
    found.more["rules"] = {
        "says_nothing": {
            "when": [{"column": name, "missing": True} for name in told], "then": "filter",
            "why": "a later row would replace what the earlier ones say",
        }
    }  # fmt: skip
    return found


def _agreement(looked: Looked, code: str, column: str) -> float:
    """Share of records that say of their product what most records of it say.

    0 where products hardly come twice: then a column of buyers would agree as well.
    """
    held = [looked.sheet.texts[name] for name in (code, column)]
    told = pq.read_table(looked.sheet.path, columns=held).rename_columns(["code", "text"])
    told = told.filter((pc.field("code") != "") & (pc.field("text") != ""))
    by_text = told.group_by(["code", "text"]).aggregate([([], "count_all")])
    sold = by_text.group_by("code").aggregate([("count_all", "max")])
    if told.num_rows < LEAST_TIMES * sold.num_rows or not sold.num_rows:
        return 0.0
    return float(pc.sum(sold["count_all_max"]).as_py() / told.num_rows)


# --- labelled snapshots ---------------------------------------------------------------------------


def _snapshot(looked: Looked, ref: Look | None) -> list[Drafted]:
    """Attributes of customers, one record each, and the outcome where a column is one."""
    found = Drafted("attributes", looked)
    label = _label(looked)
    _owner(found, ref)
    found.columns[c.EVENT_TIME] = {"constant": UNDATED}
    found.doubt(c.EVENT_TIME, "no column is a clock: give the date that the file is of")
    if label is not None:
        found.used.add(label.name)
    rest = [k for k in looked.columns.values() if k.name not in found.used and loadable(k)]
    map_open_columns(found, rest)
    return [found] if label is None else [found, _outcome(looked, ref, label)]


def _label(looked: Looked) -> Look | None:
    """A column of two words that is called like an outcome."""
    best = max(looked.columns.values(), key=lambda k: likeness(k.name, LABELS))
    return best if likeness(best.name, LABELS) >= LEAST and best.distinct == 2 else None


def _owner(found: Drafted, ref: Look | None) -> None:
    if ref is None:
        found.columns[REF] = {"row": True, "category": "identifier", "purposes": ["analytics"]}
        found.doubt(REF, "no column numbers the customers: each record is taken for one")
    else:
        map_column(found, REF, ref, targets(CANONICAL[found.table])[REF])


def _outcome(looked: Looked, ref: Look | None, label: Look) -> Drafted:
    found = Drafted("outcomes", looked)
    _owner(found, ref)
    found.columns[c.EVENT_TIME] = {"constant": UNDATED.replace(month=2)}
    found.doubt(c.EVENT_TIME, "give the date on which the outcome was known, after the attributes'")
    found.columns["name"] = {"constant": "_".join(tokens(label.name))}
    words = {word: 1 if word.lower() in YES else 0 for word, _ in label.common}
    entry: dict[str, Any] = {"from": label.name}
    if set(words) - {"0", "1"}:
        entry["map"] = words
        if sum(words.values()) != 1:
            entry["map"] = {word: k for k, (word, _) in enumerate(label.common)}
            found.doubt("value", f"which word means yes? {' or '.join(words)}")
    found.used.add(label.name)
    found.columns["value"] = entry | said("outcomes", "value")
    return found


def _attributes(looked: Looked, people: Drafted, rest: list[Look]) -> Drafted:
    """What a file of customers says beyond the canonical columns."""
    found = Drafted("attributes", looked)
    for name in (REF, c.EVENT_TIME, RECORDED):
        if name in people.columns:
            found.columns[name] = people.columns[name]
    found.more = {k: v for k, v in people.more.items() if k in ("known_time", "rules")}
    map_open_columns(found, rest)
    if (clock := found.columns[c.EVENT_TIME].get("from")) is not None:
        found.doubt("", f"all count as known since {clock}: leave out what was decided later, such "
                    "as a group or a status of today, or models learn from the future")  # fmt: skip
    return found
