"""Feature tables: every customer at every cutoff, all sets, one immutable folder."""

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from features import columns as c
from features.errors import ConfigError, DataError
from features.schema import ARROW, FeatureColumn, check
from features.settings import Part, Strict, Workspace, code_fingerprint, fingerprint, resolve
from features.store import Published, publish
from features.tables import Stored, Tables
from features.views import View

SETS = "features.sets"


class Cutoffs(Strict):
    """When customers are looked at.

    A moment is a date or ``end-90d``: days before the source's end, which is the midnight after the
    last complete day, so the same YAML runs on any source.
    """

    test: date | str
    """The cutoff that is reported, looked at once per run."""
    latest: date | str
    """The last cutoff that may teach; its label window has to end by ``test``."""
    every_days: int = Field(default=30, ge=1)
    """Distance between teaching cutoffs."""
    count: int = Field(default=14, ge=2, le=500)
    """Number of teaching cutoffs, counted back from ``latest``."""
    history_days: int = Field(default=90, ge=1)
    """Data that have to lie before the first cutoff."""
    folds: int = Field(default=3, ge=1)
    """Validation cutoffs, counted back from ``latest``: they choose parameters and calibration."""
    fold_steps: int = Field(default=3, ge=1)
    """Teaching cutoffs from one validation cutoff to the one before."""
    season_lag_days: int = Field(default=365, ge=30)
    """Test and validation cutoffs are also looked at this long before, where the data reach."""

    def resolved(self, first: datetime, end: datetime) -> "Moments":
        """Dates for a source whose data span ``[first, end)``.

        Raises
        ------
        ConfigError
            If a moment cannot be read, lies outside the data, or has too little history before it.
        """
        test, latest = _moment(self.test, end), _moment(self.latest, end)
        teaching = [_before(latest, self.every_days * k) for k in reversed(range(self.count))]
        problems = []
        if (self.folds - 1) * self.fold_steps >= self.count - 1:
            problems.append(
                f"{self.folds} folds {self.fold_steps} cutoffs apart leave nothing to learn from "
                f"among {self.count}; set cutoffs.folds or cutoffs.fold_steps lower"
            )
        if latest >= test:
            problems.append(
                f"cutoffs.latest {latest:%Y-%m-%d} must lie before cutoffs.test {test:%Y-%m-%d}"
            )
        if test > end:
            problems.append(
                f"cutoffs.test {test:%Y-%m-%d} lies after the data's end {end:%Y-%m-%d}"
            )
        short = [t for t in teaching if _before(t, self.history_days) < first]
        if short:
            fits = len(teaching) - len(short)
            remedy = (
                f"set cutoffs.count to {fits} or less" if fits >= 2
                else "set cutoffs.history_days or cutoffs.every_days lower, or bring longer data"
            )  # fmt: skip
            problems.append(
                f"{len(short)} of {self.count} cutoffs have less than {self.history_days} days of "
                f"history: the first is {short[0]:%Y-%m-%d}, the data begin {first:%Y-%m-%d}; "
                f"{remedy}"
            )
        if problems:
            raise ConfigError.listing("the cutoffs do not fit the data", problems)
        folds = teaching[:: -self.fold_steps][: self.folds]
        lag, history = timedelta(days=self.season_lag_days), timedelta(days=self.history_days)
        year_ago = {t: t - lag for t in (*folds, test) if t - lag - history >= first}
        return Moments(tuple(teaching), test, tuple(reversed(folds)), year_ago)


@dataclass(frozen=True)
class Moments:
    """Resolved cutoffs, ascending."""

    teaching: tuple[datetime, ...]
    test: datetime
    folds: tuple[datetime, ...] = ()
    """The teaching cutoffs that validate."""
    year_ago: dict[datetime, datetime] = field(default_factory=dict)
    """Test and validation cutoff -> the same season before, where the data reach."""

    @property
    def all(self) -> tuple[datetime, ...]:
        """Every cutoff that features are needed at, ascending."""
        return tuple(sorted({*self.teaching, self.test, *self.year_ago.values()}))


class FeaturePlan(Strict):
    """The part of a pipeline YAML that this package reads."""

    data: str
    """Source: a file in ``configs/data``."""
    source: dict[str, Any] = {}
    """Laid over the source's YAML, nested or dotted; for small worlds and benchmarks."""
    cutoffs: Cutoffs
    features: tuple[Part, ...] = Field(min_length=1)
    """Feature sets below ``features/sets``."""


def _moment(value: date | str, end: datetime) -> datetime:
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    match = re.fullmatch(r"end(?:-(\d{1,5})d)?", value)
    if match is None:
        with contextlib.suppress(ValueError):
            found = datetime.fromisoformat(value)
            if found.tzinfo is None:
                return found
        raise ConfigError(
            f"cutoff {value!r}: expected a date without a zone, or end-<days>d, such as end-90d"
        )
    return _before(end, int(match[1] or 0))


def _before(moment: datetime, days: int) -> datetime:
    try:
        return moment - timedelta(days=days)
    except OverflowError:
        raise ConfigError(f"cutoff {days} days before {moment:%Y-%m-%d}: no such day") from None


def declared(sets: Sequence[Any]) -> list[FeatureColumn]:
    """Columns of all sets in order.

    Raises
    ------
    ConfigError
        If two sets declare the same column.
    """
    columns = [column for part in sets for column in part.columns()]
    names = [column.name for column in columns]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(f"features: column(s) {doubled} are declared twice; list each set once")
    return columns


def compute(tables: Tables, view: View, sets: Sequence[Any]) -> pa.Table:
    """One row per customer of ``view`` and cutoff, ordered by cutoff and customer.

    Raises
    ------
    DataError
        If a set returns other columns, customers or doubled keys than it declares.
    """
    spine = tables.backend.create_table("spine", view.customers, overwrite=True)
    joined = spine
    for number, part in enumerate(sets):
        name, columns = type(part).__name__, part.columns()
        built = part.build(view)
        expected = {c.CUSTOMER, c.CUTOFF, *[k.name for k in columns]}
        if set(built.columns) != expected:
            odd = sorted(set(built.columns) ^ expected)
            raise DataError(
                f"feature set {name}: columns {odd} are declared and not built, "
                "or built and not declared"
            )
        made = tables.backend.create_table(f"set_{number}", built, overwrite=True)
        strangers = made.anti_join(spine, [c.CUSTOMER, c.CUTOFF]).count().to_pyarrow().as_py()
        doubled = (
            made.count().to_pyarrow().as_py()
            - made.select(c.CUSTOMER, c.CUTOFF).distinct().count().to_pyarrow().as_py()
        )
        if strangers or doubled:
            raise DataError(
                f"feature set {name}: {strangers} rows of unknown customers, {doubled} doubled keys"
            )
        joined = joined.left_join(made, [c.CUSTOMER, c.CUTOFF]).drop(
            f"{c.CUSTOMER}_right", f"{c.CUTOFF}_right"
        )
        fills = {k.name: joined[k.name].fill_null(k.fill) for k in columns if k.fill is not None}
        joined = joined.mutate(**fills) if fills else joined
    columns = declared(sets)
    ordered = joined.select(c.CUSTOMER, c.CUTOFF, *[k.name for k in columns]).order_by(
        c.CUTOFF, c.CUSTOMER
    )
    schema = arrow_schema(columns)
    table = ordered.to_pyarrow().cast(schema).combine_chunks()
    check(table, schema, (c.CUSTOMER, c.CUTOFF), "features")
    return table


def arrow_schema(columns: Sequence[FeatureColumn]) -> pa.Schema:
    """Arrow schema of a feature table."""
    keys = [(c.CUSTOMER, pa.int64()), (c.CUTOFF, pa.timestamp("us"))]
    return pa.schema([*keys, *[(k.name, ARROW[k.dtype]) for k in columns]])


def profile(table: pa.Table, columns: Sequence[FeatureColumn]) -> list[dict[str, Any]]:
    """Per column: rows, missing share, mean, deviation, least, deciles, greatest."""
    rows = []
    for column in columns:
        values = table[column.name]
        low_high = pc.min_max(values).as_py()
        deciles = pc.quantile(values, q=[k / 10 for k in range(1, 10)]).to_pylist()
        rows.append({
            "name": column.name, "rows": table.num_rows,
            "missing": values.null_count / max(table.num_rows, 1),
            "mean": pc.mean(values).as_py(), "sd": pc.stddev(values).as_py(),
            "min": low_high["min"],
            **{f"p{k}0": value for k, value in enumerate(deciles, start=1)},
            "max": low_high["max"],
        })  # fmt: skip
    return rows


def feature_sets(plan: FeaturePlan) -> list[Any]:
    """The plan's sets, built from their configs."""
    return [resolve(SETS, part) for part in plan.features]


def build_features(
    place: Workspace, stored: Stored, plan: FeaturePlan, moments: Moments
) -> Published:
    """Publish the feature table of ``plan`` with its schema and profile.

    ``features.parquet``, ``schema.json`` and ``profile.json``. The table holds every customer known
    at each cutoff; who is asked is the task's business.
    """
    sets = feature_sets(plan)
    columns = declared(sets)

    def write(folder: Path) -> dict[str, Any]:
        tables = stored.open()
        table = compute(tables, tables.asof(moments.all), sets)
        tables.backend.disconnect()
        pq.write_table(table, folder / "features.parquet", compression="zstd")
        schema = [column.model_dump() for column in columns]
        (folder / "schema.json").write_text(json.dumps(schema, indent=1))
        (folder / "profile.json").write_text(json.dumps(profile(table, columns), indent=1))
        return {
            "rows": table.num_rows,
            "columns": len(columns),
            "tables": stored.published.content,
            "cutoffs": [f"{t:%Y-%m-%d}" for t in moments.all],
        }

    spelled = [(part.use, built.config) for part, built in zip(plan.features, sets, strict=True)]
    key = fingerprint(
        stored.published.content, spelled,
        [t.isoformat() for t in moments.all], code_fingerprint("features"),
    )  # fmt: skip
    return publish(place.store / "features" / stored.source.name, key, write)


def read_schema(folder: Path) -> list[FeatureColumn]:
    """The declared columns of a published feature table."""
    return [FeatureColumn(**entry) for entry in json.loads((folder / "schema.json").read_text())]
