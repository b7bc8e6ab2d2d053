"""One feature table, three ways to it: batch, published profiles, and a history in a request."""

from collections import defaultdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features import columns as c
from features.canonical import CANONICAL
from features.cutoffs import Moments
from features.ondemand import OnDemand
from features.online import Profiles
from features.posted import MAX_HISTORIES, OURS
from features.publishing import publish_profiles
from features.settings import Part, Workspace, load_yaml, resolve
from features.snapshot import SETS, FeaturePart, FeaturePlan, build_features, read_features
from features.sources import load_source
from features.tables import Stored, build_tables
from tests.contracts.feature_sets import discover
from tests.reading import reading_here
from tests.worlds import CONFIGS

MISSING_CONFIG = ("attributes.Attributes",)
"""Sets without defaults: they name columns of a source's own snapshot."""
YEARS = {"days": 500, "seed": 11}
Row = dict[str, Any]


@cache
def catalogue() -> tuple[str, ...]:
    """Every set that speaks of a customer alone."""
    uses = [use for use in discover() if use not in MISSING_CONFIG]
    return tuple(u for u in uses if not getattr(resolve(SETS, Part(use=u)), "of_others", False))


def of_pipeline() -> list[str]:
    """The sets of the churn pipeline."""
    return [part["use"] for part in load_yaml(CONFIGS / "churn.yaml")["features"]]


def bits(row: Row) -> Row:
    """Floats as text that tells every bit apart."""
    return {k: v.hex() if isinstance(v, float) else v for k, v in row.items()}


class World:
    """A simulated retailer, its feature table at the end of the data, and customers drawn of it."""

    def __init__(self, place: Workspace, customers: int, drawn: int) -> None:
        simulate = {"simulate": {"customers": customers, **YEARS}}
        self.stored: Stored = build_tables(place, load_source(place, "simulated", simulate))
        self.moment: datetime = self.stored.end
        plan = FeaturePlan.model_validate(
            {
                "data": "simulated",
                "source": simulate,
                "cutoffs": {"test": "end", "latest": "end-1d"},
                "features": [FeaturePart(use=use, optional=True) for use in catalogue()],
            }
        )
        moments = Moments((), self.moment)
        self.published = build_features(place, self.stored, plan, moments)
        table = read_features(self.published.folder)
        rng = np.random.default_rng(5)
        self.ids = rng.choice(table[c.CUSTOMER].to_numpy(), drawn, replace=False)
        chosen = table.filter(pc.is_in(table[c.CUSTOMER], pa.array(self.ids)))
        rows = chosen.drop_columns([c.CUTOFF]).to_pylist()
        self.batch: dict[int, Row] = {row.pop(c.CUSTOMER): row for row in rows}
        self.histories, self.reference = self._histories()

    def _histories(self) -> tuple[dict[int, dict[str, list[Row]]], dict[str, list[Row]]]:
        """Each customer's own rows, as a request would bring them."""
        histories: dict[int, dict[str, list[Row]]] = {int(k): defaultdict(list) for k in self.ids}
        reference = {}
        for name in self.stored.brought:
            table = pq.read_table(self.stored.published.folder / f"{name}.parquet")
            if c.CUSTOMER not in CANONICAL[name]:
                reference[name] = table.drop_columns([c.ROW]).to_pylist()
                continue
            own = table.filter(pc.is_in(table[c.CUSTOMER], pa.array(self.ids))).sort_by(c.ROW)
            owners = own[c.CUSTOMER].to_pylist()
            for owner, row in zip(owners, own.drop_columns(list(OURS)).to_pylist(), strict=True):
                histories[owner][name].append(row)
        return histories, reference


def check_ondemand(
    world: World, uses: list[str] | tuple[str, ...], ids: Any, together: int
) -> OnDemand:
    """Histories posted ``together`` in one call give the batch's bits."""
    compiled = OnDemand.of(world.stored, [resolve(SETS, Part(use=use)) for use in uses])
    check_rows(world, compiled, ids, together)
    return compiled


def check_rows(world: World, compiled: OnDemand, ids: Any, together: int) -> None:
    """The same for sets that are compiled already."""
    names = [column.name for column in compiled.columns]
    for start in range(0, len(ids), together):
        part = [int(k) for k in ids[start : start + together]]
        posted = [world.histories[k] for k in part]
        found = compiled.rows(posted, world.moment, world.reference)
        for customer, row in zip(part, found, strict=True):
            expected = {name: world.batch[customer][name] for name in names}
            assert bits(row) == bits(expected), f"customer {customer}"


def check_online(world: World, url: str) -> None:
    """Published profiles hold the batch's bits."""
    publish_profiles(url, world.published.folder, world.stored.source)
    with Profiles.open(url, "simulated", clock=lambda: world.moment) as profiles:
        ids = [int(k) for k in world.ids]
        many = profiles.get_many(ids)
        for customer, expected in world.batch.items():
            found = profiles.get(customer)
            assert found is not None
            assert found == many[customer]
            assert found.cutoff == world.moment
            assert bits(found.values) == bits(expected)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    """200 customers of 300."""
    base: Path = tmp_path_factory.mktemp("parity")
    place = Workspace(
        store=base / "store", registry=base / "registry", keys=base / "keys", data=None,
        configs=CONFIGS,
    )  # fmt: skip
    with reading_here():
        return World(place, customers=300, drawn=200)


def test_sets_see_something(small: World) -> None:
    """The customers drawn differ in every set, so that equal bits say something."""
    for use in catalogue():
        part = resolve(SETS, Part(use=use))
        if all(name in small.stored.brought for name in part.reads):
            values = {tuple(row[k.name] for k in part.columns()) for row in small.batch.values()}
            assert len(values) > 1, use


def test_online_equals_batch(small: World, tmp_path: Path) -> None:
    """Every set, 200 customers, from SQLite."""
    check_online(small, f"sqlite:///{tmp_path}/profiles")


def test_pipeline_on_demand_equals_batch(small: World) -> None:
    """The churn pipeline's sets, customer by customer."""
    check_ondemand(small, of_pipeline(), small.ids[:40], together=1)


def test_catalogue_on_demand_equals_batch(small: World) -> None:
    """Every set at once, 200 customers; the first four also one by one."""
    compiled = check_ondemand(small, catalogue(), small.ids, together=100)
    check_rows(small, compiled, small.ids[:4], together=1)


@pytest.mark.slow
def test_ten_thousand(tmp_path: Path, place: Workspace) -> None:
    """10,000 customers of 12,000, all sets, three ways."""
    world = World(place, customers=12_000, drawn=10_000)
    check_online(world, f"sqlite:///{tmp_path}/profiles")
    check_ondemand(world, catalogue(), world.ids, together=MAX_HISTORIES // 4)
