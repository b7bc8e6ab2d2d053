"""What a finished table has to hold: one kind of declaration, one kind of finding.

A check of severity ``error`` that fails stops the build before anything is published; ``warn`` is
written into the quality report. Records that break a rule of their own are another matter: they go
to quarantine one by one (:mod:`features.records`).
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from features import columns as c
from features.outliers import Outliers
from features.schema import TableSchema
from features.settings import Strict

DAY_US = 86_400_000_000
PSI_BINS = 10
PSI_WORDS = 20
TESTS = (
    "not_null", "unique", "between", "outliers", "among", "matches", "references",
    "fresh_within_days", "known_within_days", "volume", "drift_below",
)  # fmt: skip
OF_COLUMNS = (
    "not_null", "unique", "between", "outliers", "among", "matches", "references", "drift_below",
)  # fmt: skip
NUMBERS = ("int64", "float64")


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Check(Strict):
    """One promise of a table; exactly one of the tests is given.

    Missing values pass all tests of values but ``not_null``.
    """

    severity: Literal["error", "warn"] = "error"
    columns: Annotated[
        tuple[str, ...],
        BeforeValidator(_as_list),
        Field(validation_alias=AliasChoices("column", "columns")),
    ] = ()
    """One column, or several that are unique together."""
    at_most: float = Field(default=0.0, ge=0, lt=1)
    """Share of rows that may fail."""
    why: str = ""

    not_null: Literal[True] | None = None
    unique: Literal[True] | None = None
    between: tuple[float | None, float | None] | None = None
    """Smallest and largest value, both inclusive."""
    outliers: Outliers | None = None
    """By the table's own values: found and counted. To cap them here would let early rows know late
    ones; that is a model's repair, see :mod:`training.repairs`."""
    among: tuple[str, ...] | None = None
    matches: str | None = None
    references: str | None = Field(default=None, pattern=r"^[a-z_]+\.[a-z_0-9]+$")
    """``table.column`` that holds every value."""
    fresh_within_days: float | None = Field(default=None, ge=0)
    """How far the last known row may lie behind the last of all tables of the source."""
    known_within_days: float | None = Field(default=None, ge=0)
    """How long after it happened a row may become known."""
    volume: tuple[float, float] | None = None
    """Smallest and largest number of rows, as multiples of the last build's."""
    drift_below: float | None = Field(default=None, gt=0)
    """Population stability index of the column against the last build; 0.1 is usually called
    small, 0.25 large."""

    @model_validator(mode="after")
    def _one_test(self) -> "Check":
        given = [name for name in TESTS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one test, found {given or 'none'}")
        single = given[0] in OF_COLUMNS and given[0] not in ("unique", "not_null")
        if given[0] in OF_COLUMNS and (not self.columns or single and len(self.columns) > 1):
            raise ValueError(f"{given[0]} tests a column; give one")
        if given[0] not in OF_COLUMNS and self.columns:
            raise ValueError(f"{given[0]} tests the table; give no column")
        return self

    @property
    def test(self) -> str:
        """Name of the test that is given."""
        return next(name for name in TESTS if getattr(self, name) is not None)

    @property
    def expected(self) -> str:
        """What is promised, in words for a report."""
        value = getattr(self, self.test)
        text = "" if value is True else f" {value}"
        most = f", but for {self.at_most:.2%}" if self.at_most else ""
        return f"{' and '.join(self.columns)} {self.test}{text}{most}".strip()


class Finding(NamedTuple):
    """What a check found."""

    table: str
    check: str
    severity: str
    verdict: Literal["passed", "failed", "not measured"]
    measured: str
    expected: str

    @property
    def stops(self) -> bool:
        """Whether nothing may be published."""
        return self.verdict == "failed" and self.severity == "error"

    def __str__(self) -> str:
        return f"{self.table}, check {self.check}: {self.measured}; expected {self.expected}"


def misfits(check: Check, schema: TableSchema, brought: Mapping[str, TableSchema]) -> list[str]:
    """What of ``check`` does not fit the table; ``brought`` are the tables of the source."""
    missing = [f"a check reads {name!r}, which is none of its columns"
               for name in check.columns if name not in schema]  # fmt: skip
    if missing:
        return missing
    kinds = {schema.column(name).dtype for name in check.columns}
    if check.test in ("between", "outliers") and not kinds <= set(NUMBERS):
        return [f"{check.test} needs a number, {check.columns[0]!r} is {kinds.pop()}"]
    if (check.among is not None or check.matches is not None) and kinds != {"string"}:
        return [f"{check.test} needs a text, {check.columns[0]!r} is {kinds.pop()}"]
    if check.references is not None:
        table, _, column = check.references.partition(".")
        if table not in brought or column not in brought[table]:
            return [f"references {check.references!r}, which the source does not bring"]
    return []


def findings(
    name: str, checks: Mapping[str, Check], folder: Path, tables: Mapping[str, Any],
    last: Path | None,
) -> Iterator[Finding]:  # fmt: skip
    """What each of ``checks`` finds in the table ``name`` below ``folder``.

    Parameters
    ----------
    tables
        Facts of all tables of the build.
    last
        The folder of the last build, or None.
    """
    for label, check in checks.items():
        verdict, measured = _MEASURES[check.test](check, name, folder, tables, last)
        yield Finding(name, label, check.severity, verdict, measured, check.expected)


Outcome = tuple[Literal["passed", "failed", "not measured"], str]
Facts = Mapping[str, Any]
_FIRST: Outcome = ("not measured", "there is no earlier build")


def _verdict(passed: bool, measured: str) -> Outcome:
    return ("passed" if passed else "failed"), measured


def _share(check: Check, failing: int, rows: int, what: str) -> Outcome:
    return _verdict(failing <= check.at_most * rows, f"{failing} of {rows} rows {what}")


def _read(folder: Path, name: str, columns: tuple[str, ...]) -> pa.Table:
    return pq.read_table(folder / f"{name}.parquet", columns=list(columns))


def _not_null(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    table = _read(folder, name, check.columns)
    missing = pa.array(np.zeros(table.num_rows, bool))
    for column in table.columns:
        missing = pc.or_(missing, column.is_null())
    return _share(check, pc.sum(missing).as_py() or 0, table.num_rows, "without a value")


def _unique(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    table = _read(folder, name, check.columns).drop_null()
    kinds = table.group_by(list(check.columns)).aggregate([]).num_rows
    return _share(check, table.num_rows - kinds, table.num_rows, "repeat another")


def _between(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    assert check.between is not None
    column = _read(folder, name, check.columns).column(0)
    return _share(check, _outside(column, *check.between), len(column), "outside")


def _outliers(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    assert check.outliers is not None
    column = _read(folder, name, check.columns).column(0)
    try:
        low, high = check.outliers.bounds(_numbers(column))
    except ValueError as reason:
        return "not measured", str(reason)
    what = f"outside [{low:.6g}, {high:.6g}]"
    return _share(check, _outside(column, low, high), len(column), what)


def _outside(column: pa.ChunkedArray, low: float | None, high: float | None) -> int:
    outside = pa.array(np.zeros(len(column), bool))
    if low is not None:
        outside = pc.or_(outside, pc.fill_null(pc.less(column, low), False))
    if high is not None:
        outside = pc.or_(outside, pc.fill_null(pc.greater(column, high), False))
    return int(pc.sum(outside).as_py() or 0)


def _among(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    column = _read(folder, name, check.columns).column(0)
    return _strangers(check, column, pa.array(check.among, pa.string()), "with other words")


def _references(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    table, _, other = (check.references or "").partition(".")
    column = _read(folder, name, check.columns).column(0)
    known = pc.unique(_read(folder, table, (other,)).column(0))
    return _strangers(check, column, known, f"without a row of {table}")


def _strangers(check: Check, column: pa.ChunkedArray, known: pa.Array, what: str) -> Outcome:
    strange = pc.and_(column.is_valid(), pc.invert(pc.is_in(column, known)))
    return _share(check, pc.sum(strange).as_py() or 0, len(column), what)


def _matches(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    column = _read(folder, name, check.columns).column(0)
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(column, check.matches)), False)
    return _share(check, pc.sum(odd).as_py() or 0, len(column), "written otherwise")


def _fresh(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    newest = max(facts["last_known"] for facts in tables.values())
    behind = (newest - tables[name]["last_known"]).total_seconds() / 86_400
    return _verdict(behind <= (check.fresh_within_days or 0), f"{behind:.1f} days behind")


def _known(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    table = _read(folder, name, (c.EVENT_TIME, c.KNOWN_TIME))
    took = pc.subtract(*(table[k].cast(pa.int64()) for k in (c.KNOWN_TIME, c.EVENT_TIME)))
    late = pc.sum(pc.greater(took, int((check.known_within_days or 0) * DAY_US))).as_py() or 0
    return _share(check, late, table.num_rows, "known later")


def _volume(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    assert check.volume is not None
    if last is None or not (last / f"{name}.parquet").is_file():
        return _FIRST
    before = pq.read_metadata(last / f"{name}.parquet").num_rows
    rows = tables[name]["rows"]
    low, high = check.volume
    return _verdict(low * before <= rows <= high * before, f"{rows} rows, {before} before")


def _drift(check: Check, name: str, folder: Path, tables: Facts, last: Path | None) -> Outcome:
    if last is None or not (last / f"{name}.parquet").is_file():
        return _FIRST
    if check.columns[0] not in pq.read_schema(last / f"{name}.parquet").names:
        return _FIRST
    before, now = (_read(place, name, check.columns).column(0) for place in (last, folder))
    found = stability_index(before, now)
    return _verdict(found < (check.drift_below or 0), f"index {found:.4f}")


def stability_index(before: pa.ChunkedArray, now: pa.ChunkedArray) -> float:
    """Population stability index: sum of (q - p) ln(q / p) over bins of shares p before, q now.

    Numbers and moments are cut at the deciles of ``before``; words, and numbers of few values, are
    the 20 most frequent and the rest; what is missing is a bin. Half a row is added to each bin, so
    that empty ones stay finite. Siddiqi, Credit Risk Scorecards (2006).
    """
    if pa.types.is_string(before.type) or pc.count_distinct(before).as_py() <= PSI_WORDS:
        words = [column.cast(pa.string()) for column in (before, now)]
        told = pc.value_counts(words[0].drop_null()).to_pylist()
        common = sorted(told, key=lambda word: (-word["counts"], word["values"]))[:PSI_WORDS]
        known = pa.array([word["values"] for word in common], pa.string())
        places = [pc.index_in(column.drop_null(), known) for column in words]
        counts = [
            np.bincount(pc.fill_null(k, len(known)).to_numpy(), minlength=len(known) + 1)
            for k in places
        ]
    else:
        values = [_numbers(column) for column in (before, now)]
        edges = np.unique(np.quantile(values[0], np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
        counts = [
            np.bincount(np.searchsorted(edges, v, side="right"), minlength=len(edges) + 1)
            for v in values
        ]
    pairs = zip(counts, (before, now), strict=True)
    shares = [np.append(bins, column.null_count) + 0.5 for bins, column in pairs]
    p, q = (bins / bins.sum() for bins in shares)
    return float(((q - p) * np.log(q / p)).sum())


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    kept = column.drop_null()
    if pa.types.is_timestamp(kept.type):
        kept = kept.cast(pa.int64())
    return np.asarray(kept.to_numpy(), float)


_MEASURES: Mapping[str, Callable[[Check, str, Path, Facts, Path | None], Outcome]] = {
    "not_null": _not_null, "unique": _unique, "between": _between, "outliers": _outliers,
    "among": _among, "matches": _matches, "references": _references, "fresh_within_days": _fresh,
    "known_within_days": _known, "volume": _volume, "drift_below": _drift,
}  # fmt: skip
