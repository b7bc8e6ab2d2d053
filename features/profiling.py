"""What the columns of a sample look like: counts, by the expressions that a build reads them with.

Each column is looked at as its distinct texts with their numbers of records, under the name
``<number of the file>:<column>``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from features.feeds import ColumnType, SourceColumn
from features.guessing import EMAIL, FORMATS, PHONE, ambiguous
from features.records import parsed
from features.sampling import Sample
from features.sheets import Sheet

COMMON = 40
MOST_FORMATS = 3
LOCAL = "UTC"
DATED = r"^\d{1,4}[-/.年]\d{1,2}[-/.月]|^(19|20)\d{6}\b|^\d{1,2}[ -][A-Za-z]{3}|^[A-Z][a-z]+ \d"
"""What may be a time: only such texts are tried as one."""
ANY = SourceColumn.model_validate({"from": "x", "category": "any", "purposes": ["any"]})


@dataclass(frozen=True)
class Look:
    """A column: numbers of records of the sample whose text is so and so."""

    name: str
    rows: int
    filled: int
    distinct: int
    common: tuple[tuple[str, int], ...]
    """The most frequent texts."""
    length: float
    """Mean number of letters of a text."""
    counts: Mapping[str, int]
    """By test: ``integer``, ``number``, ``comma``, ``zeros``, ``whole``, ``negative``, ``email``,
    ``phone``."""
    times: tuple[tuple[str, int], ...]
    """Formats of a time, and how many of the texts that none before it fits each reads."""
    twin: str | None
    """A format with day and month the other way round that reads as many."""

    def share(self, test: str) -> float:
        """Share of the filled texts that meet a test."""
        return self.counts[test] / self.filled if self.filled else 0.0

    @property
    def timed(self) -> float:
        """Share of the filled texts that are times."""
        return sum(n for _, n in self.times) / self.filled if self.filled else 0.0

    @property
    def unique(self) -> bool:
        """Whether every record has a text of its own."""
        return self.filled == self.rows == self.distinct


@dataclass(frozen=True)
class Looked:
    """A file: its sample, and what its columns look like."""

    path: Path
    sample: Sample
    sheet: Sheet
    rows: int
    """Records of the sample that split."""
    broken: int
    """Records of the sample that do not."""
    columns: Mapping[str, Look]


def look_at(backend: Backend, files: Sequence[tuple[Path, Sample, Sheet]]) -> list[Looked]:
    """Look at every column of the staged samples of ``files``: all at once, in three queries."""
    whole: list[pa.Table] = []
    texts: dict[str, pa.ChunkedArray] = {}
    for number, (_, sample, sheet) in enumerate(files):
        staged = pq.read_table(sheet.path)
        whole.append(staged.filter(pc.is_null(staged["problem"])))
        texts |= {f"{number}:{name}": whole[-1][sheet.texts[name]] for name in sample.columns}
    values = backend.create_table(
        "looked_at", pa.concat_tables(starmap(_distinct, texts.items())), temp=True, overwrite=True
    )
    told = {row.pop("column"): row for row in _tests(values).to_pyarrow().to_pylist()}
    common: dict[str, list[tuple[str, int]]] = {name: [] for name in texts}
    window = ibis.window(group_by="column", order_by=[ibis.desc("n"), "text"])
    ranked = values.mutate(rank=ibis.row_number().over(window)).filter(ibis._["rank"] < COMMON)
    for row in ranked.order_by(["column", "rank"]).to_pyarrow().to_pylist():
        common[row["column"]].append((row["text"], row["n"]))
    times = _times(values)
    seen = []
    for number, (path, sample, sheet) in enumerate(files):
        rows = whole[number].num_rows
        columns = {
            name: _look(name, rows, told.get(key, {}), common[key], *times.get(key, ((), None)))
            for name in sample.columns
            for key in [f"{number}:{name}"]
        }
        broken = sheet.counts.records - rows
        seen.append(Looked(path, sample, sheet, rows, broken, columns))
    return seen


def _distinct(name: str, texts: pa.ChunkedArray) -> pa.Table:
    """The texts of a column that say something, each with its number of records."""
    texts = pc.utf8_trim(texts, " \t\r\n\v\f").drop_null()
    counts = pc.value_counts(texts.filter(pc.not_equal(texts, "")))
    return pa.table({
        "column": pa.repeat(pa.scalar(name), len(counts)),
        "text": counts.field("values"), "n": counts.field("counts"),
    })  # fmt: skip


def _tests(values: ir.Table) -> ir.Table:
    text = values.text
    comma = ANY.model_copy(update={"decimal_comma": True})
    met = {
        "integer": _is(text, "integer"),
        "number": _is(text, "number"),
        "comma": _is(text, "number", comma) & text.contains(","),
        "zeros": text.re_search("^0[0-9]"),
        "whole": text.re_search(r"^\d+\.0$"),
        "negative": text.startswith("-"),
        "email": text.re_search(EMAIL),
        "phone": text.re_search(PHONE) & ~_is(text, "number"),
    }
    return values.group_by("column").aggregate(
        filled=values.n.sum(), distinct=values.count(), letters=(text.length() * values.n).sum(),
        **{test: values.n.sum(where=found).fill_null(0) for test, found in met.items()},
    )  # fmt: skip


def _look(
    name: str, rows: int, told: Mapping[str, int], common: Sequence[tuple[str, int]],
    times: tuple[tuple[str, int], ...], twin: str | None,
) -> Look:  # fmt: skip
    filled = told.get("filled", 0)
    return Look(
        name=name, rows=rows, filled=filled, distinct=told.get("distinct", 0),
        common=tuple(common), length=told.get("letters", 0) / max(filled, 1),
        counts=Counter(told), times=times, twin=twin,
    )  # fmt: skip


def _is(text: ir.StringValue, kind: ColumnType, column: SourceColumn = ANY) -> ir.BooleanValue:
    return parsed(text, column, kind, LOCAL).notnull()


Times = tuple[tuple[tuple[str, int], ...], str | None]


def _times(values: ir.Table) -> dict[str, Times]:
    """Column -> formats that read most of what is left, one after the other, and a twin."""
    dated = values.filter(values.text.re_search(DATED))
    found: dict[str, Times] = {}
    for name, first in _read_as(dated).items():
        read = first
        best = max(FORMATS, key=lambda format: read[format])  # the first of equals
        if not read[best]:
            continue
        formats, left = [(best, read[best])], dated.filter(dated.column == name)
        while read["dated"] > read[best] and len(formats) < MOST_FORMATS:
            left = left.filter(~_is(left.text, "timestamp", _with(best)))
            rest = _read_as(left).get(name, Counter[str]())
            best = max(FORMATS, key=lambda format: rest[format])
            if not rest[best]:
                break
            formats.append((best, rest[best]))
            read = rest
        found[name] = tuple(formats), ambiguous(first, formats[0][0])
    return found


def _read_as(dated: ir.Table) -> dict[str, Counter[str]]:
    """Column -> format -> how many records it reads; ``dated`` counts all of them."""
    counts = dated.group_by("column").aggregate(
        dated=dated.n.sum(),
        **{
            f"f{k}": dated.n.sum(where=_is(dated.text, "timestamp", _with(format))).fill_null(0)
            for k, format in enumerate(FORMATS)
        },
    )
    return {
        row["column"]: Counter(
            {"dated": row["dated"]} | {format: row[f"f{k}"] for k, format in enumerate(FORMATS)}
        )
        for row in counts.order_by("column").to_pyarrow().to_pylist()
    }


def _with(format: str) -> SourceColumn:
    return ANY.model_copy(update={"format": (format,)})
