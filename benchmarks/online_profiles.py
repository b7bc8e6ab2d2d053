"""Profiles by customer id from SQLite in process, and features of a posted history.

Lookups: profiles of 100 columns, random customers, one at a time, each unpacked into its values;
the file is as warm as the operating system keeps it. On demand: every set that speaks of a customer
alone, compiled once, for one customer with 500 order lines and a catalogue of their products, and
the same with rows of other tables; the first request of a kind makes its plan. One thread.

    python benchmarks/online_profiles.py [1000000]
"""

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

from features.canonical import CANONICAL
from features.errors import ConfigError
from features.ondemand import OnDemand
from features.online import Profiles
from features.profile_stores import open_store
from features.schema import FeatureColumn
from features.settings import Part, resolve
from features.snapshot import SETS

COLUMNS = 100
LOOKUPS = 20_000
LINES = 500
BEGAN = datetime(2020, 1, 1)


def timed(ask: Callable[[], object], times: int) -> str:
    """Percentiles of ``times`` calls; processor time is what remains of them on an idle machine."""
    taken = np.empty((times, 2))
    for row in taken:
        start, start_cpu = time.perf_counter(), time.thread_time()
        ask()
        row[:] = time.perf_counter() - start, time.thread_time() - start_cpu
    (wall, wall_99), (cpu, cpu_99) = np.percentile(taken * 1e3, [50, 99], axis=0).T
    return (
        f"p50 {wall:.3f} ms, p99 {wall_99:.3f} ms; processor p50 {cpu:.3f} ms, p99 {cpu_99:.3f} ms"
    )


def lookups(customers: int) -> None:
    """Publish ``customers`` profiles and look some up."""
    rng = np.random.default_rng(1)
    ids = np.unique(rng.integers(0, 2**63 - 1, customers))
    columns = [
        FeatureColumn(name=f"x__c{k}", unit="ratio", meaning="drawn", missing="drawn")
        for k in range(COLUMNS)
    ]
    facts = {
        "format": 1, "source": "drawn", "time_zone": "UTC", "cutoff": "2025-06-30T00:00:00",
        "published_at": "2025-06-30T00:00:00", "rows": len(ids), "features": "drawn",
        "columns": [column.model_dump() for column in columns],
    }  # fmt: skip

    def rows() -> Any:
        for start in range(0, len(ids), 10_000):
            block = rng.normal(size=(10_000, COLUMNS))
            block[rng.random(block.shape) < 0.2] = np.nan
            for customer, values in zip(ids[start : start + 10_000].tolist(), block, strict=False):
                yield customer, values.tobytes(), None

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/profiles"
        start = time.perf_counter()
        with open_store(url, "drawn") as store:
            store.publish("drawn", facts, rows)
        size = sum(p.stat().st_size for p in Path(folder).rglob("*.sqlite")) / 1e6
        print(
            f"{len(ids):,} profiles x {COLUMNS} columns: published in "
            f"{time.perf_counter() - start:.1f} s, {size:,.0f} MB"
        )
        with Profiles.open(url, "drawn") as profiles:
            chosen = iter(rng.choice(ids, 2 * LOOKUPS).tolist())
            timed(lambda: profiles.get(next(chosen)), LOOKUPS)
            print("  one profile   ", timed(lambda: profiles.get(next(chosen)), LOOKUPS))
            some = rng.choice(ids, (200, 100)).tolist()
            print("  100 profiles  ", timed(lambda: profiles.get_many(some.pop()), 200))


def catalogue() -> list[Any]:
    """Every set with defaults that a posted history is enough for."""
    found = []
    for path in sorted((Path(__file__).parents[1] / "features" / "sets").glob("[a-z]*.py")):
        module = importlib.import_module(f"{SETS}.{path.stem}")
        for name, cls in vars(module).items():
            if getattr(cls, "__module__", "") == module.__name__ and hasattr(cls, "build"):
                try:
                    found.append(resolve(SETS, Part(use=f"{path.stem}.{name}")))
                except ConfigError:
                    print(f"  left out: {name} has no defaults")
    return [part for part in found if not getattr(part, "of_others", False)]


def history(rng: np.random.Generator, moment: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    """500 lines of some 60 orders, and the products they name."""
    lines = []
    for number in range(LINES):
        order, quantity = number // 8, int(rng.integers(1, 9))
        when = moment - timedelta(days=int(12 * (LINES // 8 + 1 - order)), hours=3)
        lines.append(
            {
                "event_time": when, "known_time": when + timedelta(minutes=3),
                "order_id": f"o{order}", "order_ref": f"o{order}",
                "product_id": f"p{rng.integers(0, 120)}", "quantity": quantity,
                "amount_minor": quantity * int(rng.integers(100, 5_000)), "is_return": False,
                "channel": "web",
            }
        )  # fmt: skip
    products = [
        {"product_id": f"p{k}", "event_time": BEGAN, "known_time": BEGAN, "category": f"c{k % 9}",
         "brand": f"b{k % 20}", "price_minor": 100 * k + 99}
        for k in range(120)
    ]  # fmt: skip
    return {"order_lines": lines}, {"products": products}


def ondemand() -> None:
    """Compile the catalogue and ask for one customer."""
    rng = np.random.default_rng(2)
    moment = datetime(2025, 6, 30)
    schemas = {n: table.arrow for n, table in CANONICAL.items() if not table.open}
    start = time.perf_counter()
    compiled = OnDemand(catalogue(), schemas, dict.fromkeys(schemas, BEGAN))
    print(f"{len(compiled.columns)} columns compiled in {time.perf_counter() - start:.1f} s")
    posted, products = history(rng, moment)
    visits = [
        {"event_time": moment - timedelta(days=k), "known_time": moment - timedelta(days=k),
         "channel": "web", "kind": "visit", "session_id": f"s{k}"}
        for k in range(1, 200)
    ]  # fmt: skip
    for name, asked in (
        ("500 order lines", posted),
        ("and 199 events", posted | {"events": visits}),
    ):
        start = time.perf_counter()
        compiled.row(asked, moment, products)
        print(f"  {name}: its plan made and asked in {time.perf_counter() - start:.2f} s")
        print(f"  {name}  ", timed(lambda a=asked: compiled.row(a, moment, products), 100))


if __name__ == "__main__":
    lookups(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    ondemand()
