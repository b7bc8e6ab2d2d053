"""Spark gives what DuckDB gives: the same sets, the same expressions, the same values.

Needs pyspark (``make spark``) and Java 17 or later; skipped with a reason where one is missing.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.catalogue import discover
from features.compute import FeatureSet, compute
from features.engine import connect
from features.settings import Workspace
from features.spark import connect_spark
from features.tables import Tables
from features.views import View
from tests.channel_worlds import random_channels
from tests.contracts.feature_sets import CUTOFFS, default
from tests.worlds import BEGAN, as_bytes

FEW = ("rfm.Rfm", "profile.Profile")
"""Sets that show each kind of expression; the others where all sizes are asked for."""
REST = tuple(use for use in discover() if use not in FEW)

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]


def _missing() -> str:
    if find_spec("pyspark") is None:
        return "pyspark is not installed: `make spark`"
    java = shutil.which("java")
    if java is None:
        return "Spark needs Java 17 or later on the PATH"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = int(said.split('"')[1].split(".")[0]) if '"' in said else 0
    return "" if version >= 17 else f"Spark needs Java 17 or later, found {version}"


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A local Spark."""
    if reason := _missing():
        pytest.skip(reason)
    backend = connect_spark()
    yield backend
    backend._session.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random rows of every canonical table, as Parquet files."""
    folder = tmp_path_factory.mktemp("world")
    for name, table in random_channels(seed=11, customers=60).items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def _tables(backend: Any, world: Path) -> Tables:
    opened = {
        path.stem: backend.read_parquet(path, table_name=path.stem)
        for path in sorted(world.glob("*.parquet"))
    }
    return Tables(backend, opened, dict.fromkeys(opened, BEGAN))


def _computed(
    tables: Tables, sets: list[FeatureSet], cutoffs: Sequence[datetime] = CUTOFFS
) -> pa.Table:
    view: View = tables.asof(cutoffs)
    return compute(tables.backend, view, sets)


@pytest.mark.parametrize(
    "use", [*FEW, *(pytest.param(use, marks=pytest.mark.slow) for use in REST)]
)
def test_a_set_on_both_engines(use: str, spark: Any, world: Path) -> None:
    """The same set, the same rows: equal to the bit, column by column."""
    sets = [default(use)]
    here = _computed(_tables(connect(world), world), sets)
    there = _computed(_tables(spark, world), sets)
    assert here.schema == there.schema
    odd = [
        n for n in here.column_names if as_bytes(here.select([n])) != as_bytes(there.select([n]))
    ]
    assert not odd, f"Spark gives other values: {odd}"


def test_data_of_one_length_on_both_engines(spark: Any, world: Path) -> None:
    """What happened too early to be seen is seen on neither."""
    sets = [default(FEW[0])]
    here, there, whole = (
        _computed(replace(_tables(backend, world), as_at=as_at), sets, CUTOFFS[-1:])
        for backend, as_at in (
            (connect(world), CUTOFFS[0]), (spark, CUTOFFS[0]), (connect(world), None)
        )
    )  # fmt: skip
    assert as_bytes(here) == as_bytes(there) != as_bytes(whole)


@pytest.mark.usefixtures("reader_here")
def test_a_pipeline_names_its_engine(place: Workspace, spark: Any) -> None:
    """``engine: spark`` publishes the same content as the default."""
    from features.cutoffs import Cutoffs
    from features.snapshot import FeaturePart, FeaturePlan, build_features, read_features
    from features.sources import load_source
    from features.tables import build_tables

    del spark
    plan = FeaturePlan(
        data="simulated",
        source={"simulate": {"customers": 60, "days": 500, "tables": ["order_lines"]}},
        cutoffs=Cutoffs(test="end-30d", latest="end-60d", count=2, folds=1, history_days=300),
        features=(FeaturePart(use="rfm.Rfm"),),
    )
    stored = build_tables(place, load_source(place, plan.data, plan.source))
    moments = plan.cutoffs.resolved(stored.first, stored.end)
    other = place.model_copy(update={"store": place.store / "spark"})
    here = build_features(place, stored, plan, moments)
    there = build_features(other, stored, plan.model_copy(update={"engine": "spark"}), moments)
    assert there.fresh
    assert read_features(here.folder).equals(read_features(there.folder))
    assert here.content == there.content


@pytest.mark.slow
@pytest.mark.usefixtures("reader_here")
def test_pairs_of_records_on_both_engines(place: Workspace, spark: Any) -> None:
    """``engine: spark`` scores the same pairs by the same weights of what agrees.

    Two libraries compute how alike texts are, so a pair at the edge of a level may differ, and with
    it the share of matches that all weights imply.
    """
    from features.ingest import PAIRS
    from features.sources import load_source
    from features.tables import build_tables

    del spark
    found = {}
    for engine in ("duckdb", "spark"):
        asked = {"simulate.customers": 300, "identity.engine": engine}
        stored = build_tables(place, load_source(place, "simulated_people", asked))
        rows = pq.read_table(stored.published.folder / PAIRS).to_pylist()
        found[engine] = {
            (r["customer_id"], r["other_customer_id"]): sum(
                part or 0.0 for name, part in r.items() if name.startswith("mw_")
            )
            for r in rows
        }
    here, there = found["duckdb"], found["spark"]
    assert len(here.keys() & there.keys()) > 0.99 * len(here.keys() | there.keys()) > 50
    same = [there[k] == pytest.approx(here[k], abs=1e-6) for k in here.keys() & there.keys()]
    assert sum(same) > 0.99 * len(same)
