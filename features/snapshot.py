"""Feature tables: every customer at every cutoff, all sets, one immutable folder.

Each cutoff is a part of its own, computed once and kept by what it depends on: a run with one more
cutoff computes that one, and an interrupted build goes on at the first cutoff that is not there. A
feature table is a folder of links to its parts.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from features import columns as c
from features.compute import Chosen, FeatureSet, declared
from features.consent import Consent
from features.cutoffs import AnyCutoffs, Moments
from features.engine import Engine, available_threads
from features.errors import ConfigError
from features.passes import Passes
from features.profile import profile
from features.schema import FeatureColumn
from features.settings import Part, Strict, Workspace, code_fingerprint, fingerprint, resolve
from features.store import Published, publish, published
from features.tables import Stored

SETS = "features.sets"
ROWS_A_PASS = 25_000_000
"""Cutoffs times rows of the largest table that one pass may look at: bounds its memory.

Two passes take less time than one of twice the size: memory used before is at hand.
"""


class FeaturePart(Part):
    """A feature set in a pipeline YAML."""

    optional: bool = False
    """True: on a source without the tables that the set reads, its columns are missing values.

    False: such a source is refused.
    """
    columns: tuple[str, ...] = ()
    """Only these of its columns; empty = all. What they do not need is not computed."""
    without: tuple[str, ...] = ()
    """None of these of its columns."""


class FeaturePlan(Strict):
    """The part of a pipeline YAML that this package reads."""

    data: str
    """Source: a file in ``configs/data``."""
    source: dict[str, Any] = {}
    """Laid over the source's YAML, nested or dotted; for small worlds and benchmarks."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of the customers that the run looks at, chosen by a hash: always the same ones."""
    engine: Engine = "duckdb"
    """Where features are computed; results are the same. ``spark``: see :mod:`features.spark`."""
    consent: Consent | None = None
    """Only customers who allow this as known at a cutoff are looked at from it, at all."""
    cutoffs: AnyCutoffs
    features: tuple[FeaturePart, ...] = Field(min_length=1)
    """Feature sets below ``features/sets``."""


def feature_sets(plan: FeaturePlan) -> list[FeatureSet]:
    """The plan's sets, built from their configs."""
    return sets_of(plan.features)


def sets_of(parts: Sequence[FeaturePart]) -> list[FeatureSet]:
    """The sets that ``parts`` name, each with the columns that were chosen of it."""
    sets: list[FeatureSet] = []
    for part in parts:
        whole, names = resolve(SETS, part), _chosen(part)
        sets.append(Chosen(whole, names) if names else whole)
    return sets


def _chosen(part: FeaturePart) -> tuple[str, ...]:
    """The columns that ``part`` chooses of its set; empty = all.

    Raises
    ------
    ConfigError
        If one to leave out is not there, or none is left.
    """
    if not part.without:
        return part.columns
    names = part.columns or tuple(k.name for k in resolve(SETS, part).columns())
    left = tuple(name for name in names if name not in part.without)
    unknown = [name for name in part.without if name not in names]
    if unknown or not left:
        found = f"columns {unknown} are unknown" if unknown else "no column is left"
        raise ConfigError(f"{part.use}, without: {found}; it has {', '.join(names)}")
    return left


def united(plans: Sequence[FeaturePlan]) -> FeaturePlan:
    """One plan with the sets of all ``plans``, such as for profiles that serve several models.

    Raises
    ------
    ConfigError
        If they speak of different data, or use one set with different settings: then its columns
        would have one name and two values.
    """
    first, parts, problems = plans[0], dict[str, FeaturePart](), []
    for plan in plans:
        if (plan.data, plan.source, plan.sample) != (first.data, first.source, first.sample):
            problems.append(f"data: {plan.data!r} and {first.data!r}, or other overrides of it")
        if plan.consent != first.consent:
            problems.append(f"consent: {plan.consent} and {first.consent}")
        for part in plan.features:
            other = parts.setdefault(part.use, part)
            if resolve(SETS, other).config != resolve(SETS, part).config:
                problems.append(f"{part.use}: used with different settings")
            both = (_chosen(other), _chosen(part))
            chosen = tuple(dict.fromkeys(chain(*both))) if all(both) else ()
            optional = other.optional and part.optional
            parts[part.use] = other.model_copy(
                update={"columns": chosen, "without": (), "optional": optional}
            )
    if problems:
        raise ConfigError.listing(
            "these pipelines cannot share one publication; publish them to stores of their own",
            dict.fromkeys(problems),
        )
    return first.model_copy(update={"features": tuple(parts.values())})


def read_features(folder: Path, cutoffs: Sequence[datetime] | None = None) -> pa.Table:
    """The feature table in ``folder``, or what it holds of ``cutoffs``, ordered by its keys."""
    names = sorted(folder.glob("features-*.parquet"))
    if cutoffs is not None:
        names = [folder / _part_name(t) for t in sorted(cutoffs)]
    return pa.concat_tables(pq.read_table(name) for name in names)


def read_schema(folder: Path) -> list[FeatureColumn]:
    """The declared columns of a published feature table."""
    return [FeatureColumn(**entry) for entry in json.loads((folder / "schema.json").read_text())]


def build_features(
    place: Workspace, stored: Stored, plan: FeaturePlan, moments: Moments
) -> Published:
    """Publish the feature table of ``plan``: a part per cutoff, ``schema.json``, ``profile.json``.

    The table holds every customer known at each cutoff who allows what ``plan.consent`` asks; who
    is asked is the task's business.

    Raises
    ------
    ConfigError
        If a set reads a table that the source does not bring, its windows reach beyond the data, or
        the plan asks for a consent and the source brings none.
    DataError
        If a set does not keep its promises; no part of that pass is published.
    """
    sets, stored = feature_sets(plan), stored.consenting(plan.consent)
    if stored.as_at is None:  # else windows reach beyond what is shown, where they do at that date
        check_fit(stored, plan, moments.all)
    columns = declared(sets)
    spelled = [(part.use, built.config) for part, built in zip(plan.features, sets, strict=True)]
    base = fingerprint(
        stored.published.content, spelled, plan.sample, stored.consent, stored.as_at,
        code_fingerprint("features"),
    )  # fmt: skip
    kind = "features" if stored.as_at is None else "features_of_one_length"
    root = place.store / kind / stored.source.name
    key = fingerprint(base, [t.isoformat() for t in moments.all])

    def write(folder: Path) -> dict[str, Any]:
        parts = _parts(root / "parts", base, stored, plan, sets, moments.all)
        profiles, rows = [], 0
        for t, part in parts.items():
            os.link(part.folder / "part.parquet", folder / _part_name(t))
            profiles += json.loads((part.folder / "profile.json").read_text())
            rows += part.manifest["facts"]["rows"]
        schema = [column.model_dump() for column in columns]
        (folder / "schema.json").write_text(json.dumps(schema, indent=1))
        (folder / "profile.json").write_text(json.dumps(profiles, indent=1))
        return {
            "rows": rows,
            "columns": len(columns),
            "tables": stored.published.content,
            "cutoffs": [f"{t:%Y-%m-%d}" for t in moments.all],
        }

    return publish(root, key, write)


def _parts(
    root: Path,
    base: str,
    stored: Stored,
    plan: FeaturePlan,
    sets: Sequence[FeatureSet],
    cutoffs: Sequence[datetime],
) -> dict[datetime, Published]:
    """The part of each cutoff, computed unless it is there."""
    keys = {t: fingerprint(base, t.isoformat()) for t in cutoffs}
    parts = {t: published(root, keys[t]) for t in cutoffs}
    missing = [t for t, part in parts.items() if part is None]
    step = max(1, ROWS_A_PASS // max(stored.largest, 1))
    if missing:
        chunks = [missing[start : start + step] for start in range(0, len(missing), step)]
        with stored.open(plan.sample, plan.engine) as tables, ThreadPoolExecutor(1) as beside:
            passes = Passes(tables.backend, tables.asof, sets)
            written: Future[dict[datetime, Published]] = beside.submit(dict)
            for chosen in [group for chunk in chunks for group in tables.passes(chunk)]:
                if tables.merging:  # whose rows they are is written into every statement
                    passes = Passes(tables.backend, tables.asof, sets)
                computed = passes.computed(chosen)
                # One pass is checked and written while the next is computed, and not more than one.
                parts |= written.result()
                written = beside.submit(
                    _write_parts, root, {t: keys[t] for t in chosen}, computed, sets
                )
            parts |= written.result()
    return {t: part for t, part in parts.items() if part is not None}


def _write_parts(
    root: Path,
    keys: Mapping[datetime, str],
    computed: Callable[[], pa.Table],
    sets: Sequence[FeatureSet],
) -> dict[datetime, Published]:
    table = computed()
    with ThreadPoolExecutor(available_threads()) as pool:
        writing = {
            t: pool.submit(
                publish, root, key, partial(_write_part, table=table, cutoff=t, sets=sets)
            )
            for t, key in keys.items()
        }
    return {t: part.result() for t, part in writing.items()}


def _write_part(
    folder: Path, table: pa.Table, cutoff: datetime, sets: Sequence[FeatureSet]
) -> dict[str, Any]:
    moment, cutoffs = np.datetime64(cutoff, "us"), table[c.CUTOFF].to_numpy()
    first, last = (np.searchsorted(cutoffs, moment, side=side) for side in ("left", "right"))
    rows = table.slice(first, last - first)
    words = [k.name for k in declared(sets) if k.dtype == "string"]
    # Numbers seldom repeat: a dictionary of them takes time and room.
    pq.write_table(rows, folder / "part.parquet", compression="zstd", use_dictionary=words)
    found = profile(rows, declared(sets), f"{cutoff:%Y-%m-%d}")
    (folder / "profile.json").write_text(json.dumps(found))
    return {"cutoff": cutoff.isoformat(), "rows": rows.num_rows}


def _part_name(cutoff: datetime) -> str:
    return f"features-{cutoff:%Y-%m-%dT%H%M%S}.parquet"


def lacking(plan: FeaturePlan, source: str, brought: Collection[str]) -> list[str]:
    """What stands against the sets of ``plan`` on ``source``, which brings these tables."""
    return [
        f"feature set {part.use} reads {', '.join(missing)}; source {source!r} brings "
        f"{', '.join(sorted(brought))}: leave the set out, set `optional: true` beside it for "
        "missing values, or bring the table"
        for part, built in zip(plan.features, feature_sets(plan), strict=True)
        if not part.optional and (missing := [name for name in built.reads if name not in brought])
    ]


def check_fit(stored: Stored, plan: FeaturePlan, cutoffs: Sequence[datetime]) -> None:
    """Refuse sets that read tables the source lacks, and windows longer than the data.

    Raises
    ------
    ConfigError
        Naming each set, and what to do.
    """
    problems = lacking(plan, stored.source.name, stored.brought)
    last = max(cutoffs)
    for part, built in zip(plan.features, feature_sets(plan), strict=True):
        if not set(built.reads) <= set(stored.brought):
            continue
        observed = min(((last - stored.began[name]).days for name in built.reads), default=0)
        long = {k.name: k.window_days for k in built.columns() if (k.window_days or 0) > observed}
        if long:
            problems.append(
                f"feature set {part.use}: {len(long)} columns look back further than the "
                f"{observed} days observed before the last cutoff {last:%Y-%m-%d}, such as "
                f"{next(iter(long))}: set shorter windows in its config"
            )
    if problems:
        raise ConfigError.listing(
            f"{len(problems)} feature set(s) do not fit source {stored.source.name!r}", problems
        )
