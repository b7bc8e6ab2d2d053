"""RFM-style features at 12 monthly cutoffs: this engine beside pandas, polars and DuckDB SQL.

The same 16 columns for all customers of Online Retail II (gross sales lines), replicated with new
customer ids. Each opponent runs alone in a process of its own with two threads, from the typed
Parquet table, after imports and the collection of what they left, to its Parquet output; ours runs
the whole engine: both clocks, checks, profile, hash and publish. The values are compared with ours.
The limit is one scan with one aggregate per customer; the catalogue is every column of the sets
that orders are enough for, once. Peak memory is the process's own, imports included; processor
seconds are what remains of the clock's on a busy machine.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/feature_engine.py [copies ...]   (default 1 10)
"""

import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ |= {"POLARS_MAX_THREADS": "2", "PERENNIAL_THREADS": "2", "OMP_NUM_THREADS": "2"}

CUTOFFS = [datetime(2010, m, 1) for m in (11, 12)] + [datetime(2011, m, 1) for m in range(1, 11)]
WINDOWS = (30, 90, 365)
PANDAS_ROWS = 45_000_000
NAMES = [
    "rfm__recency_days", "rfm__frequency_orders", "rfm__T_days", "rfm__monetary_value",
    *(f"orders__{q}_{w}d" for q in ("orders", "spend", "items") for w in WINDOWS),
    "cadence__gap_mean_days", "cadence__gap_sd_days", "cadence__gap_max_days",
]  # fmt: skip
FROM_ORDERS: dict[str, dict[str, Any]] = {
    "rfm.Rfm": {}, "orders.Orders": {}, "cadence.Cadence": {}, "periods.Periods": {},
    "cohort.Cohort": {}, "cohort.Peers": {},
    "assortment.Assortment": {"windows_days": [30, 90, 180, 365]},
}  # fmt: skip
CATALOGUE = "catalogue"
REPEATS = 3


# --- the limit and the opponents ------------------------------------------------------------


def limit(lines: Path, out: Path) -> None:
    """One scan, one aggregate per customer."""
    import duckdb

    duckdb.sql("SET threads = 2")
    duckdb.sql(
        f"COPY (SELECT customer_id, sum(amount_minor) a, max(event_time) t FROM '{lines}' "
        f"GROUP BY 1) TO '{out}' (FORMAT parquet)"
    )


def duckdb_sql(lines: Path, out: Path) -> None:
    """Lines collapsed to orders, gaps once, cutoffs joined, FILTER for windows."""
    import duckdb

    moments = ", ".join(f"(TIMESTAMP '{t}')" for t in CUTOFFS)
    windows = ", ".join(
        f"count(*) FILTER (age <= {w}) orders__orders_{w}d, "
        f"coalesce(sum(amount) FILTER (age <= {w}), 0) / 100.0 orders__spend_{w}d, "
        f"coalesce(sum(quantity) FILTER (age <= {w}), 0) orders__items_{w}d"
        for w in WINDOWS
    )
    duckdb.sql("SET threads = 2")
    duckdb.sql(f"""
        COPY (
        WITH orders AS (
            SELECT customer_id, order_id, min(event_time) t, sum(amount_minor)::BIGINT amount,
                   sum(quantity)::BIGINT quantity
            FROM '{lines}' GROUP BY 1, 2
        ), gaps AS (
            SELECT *, nullif(day - lag(day) OVER (PARTITION BY customer_id ORDER BY t, order_id), 0)
                   gap
            FROM (SELECT *, epoch_us(t) // 86400000000 AS day FROM orders)
        ), seen AS (
            SELECT cutoff, gaps.*, (epoch_us(cutoff) - epoch_us(t)) / 86400000000.0 age
            FROM gaps JOIN (VALUES {moments}) m(cutoff) ON t < cutoff
        )
        SELECT customer_id, cutoff, min(age) rfm__recency_days,
               count(*) - 1 rfm__frequency_orders, max(age) rfm__T_days,
               sum(amount) / 100.0 / count(*) rfm__monetary_value, {windows},
               sum(gap) / count(gap) cadence__gap_mean_days,
               stddev_samp(gap) cadence__gap_sd_days, max(gap) cadence__gap_max_days
        FROM seen GROUP BY 1, 2) TO '{out}' (FORMAT parquet)
    """)


def polars_lazy(lines: Path, out: Path) -> None:
    """The same in polars' lazy engine."""
    import polars as pl

    orders = (
        pl.scan_parquet(lines)
        .group_by("customer_id", "order_id")
        .agg(t=pl.col("event_time").min(), amount=pl.col("amount_minor").sum(),
             quantity=pl.col("quantity").sum())
        .sort("customer_id", "t", "order_id")
        .with_columns(day=pl.col("t").dt.epoch("d"))
        .with_columns(gap=pl.col("day").diff().over("customer_id"))
        .with_columns(gap=pl.when(pl.col("gap") != 0).then(pl.col("gap")))
        .collect()
    )  # fmt: skip
    parts = []
    for cutoff in CUTOFFS:
        age = (pl.lit(cutoff) - pl.col("t")).dt.total_seconds() / 86_400
        sums = {}
        for w in WINDOWS:
            inside = pl.col("age") <= w
            sums |= {
                f"orders__orders_{w}d": inside.sum(),
                f"orders__spend_{w}d": pl.col("amount").filter(inside).sum() / 100,
                f"orders__items_{w}d": pl.col("quantity").filter(inside).sum(),
            }
        parts.append(
            orders.lazy()
            .filter(pl.col("t") < cutoff)
            .with_columns(age=age)
            .group_by("customer_id")
            .agg(
                cutoff=pl.lit(cutoff), rfm__recency_days=pl.col("age").min(),
                rfm__frequency_orders=pl.len() - 1, rfm__T_days=pl.col("age").max(),
                rfm__monetary_value=pl.col("amount").sum() / 100 / pl.len(), **sums,
                cadence__gap_mean_days=pl.col("gap").mean(),
                cadence__gap_sd_days=pl.col("gap").std(),
                cadence__gap_max_days=pl.col("gap").max(),
            )
        )  # fmt: skip
    pl.concat(pl.collect_all(parts)).write_parquet(out)


def pandas_collapsed(lines: Path, out: Path) -> None:
    """Lines collapsed to orders once; one group-by per cutoff and window."""
    import pandas as pd

    table = pd.read_parquet(
        lines, columns=["customer_id", "order_id", "event_time", "amount_minor", "quantity"]
    )
    orders = table.groupby(["customer_id", "order_id"], as_index=False).agg(
        t=("event_time", "min"), amount=("amount_minor", "sum"), quantity=("quantity", "sum")
    )
    pd.concat([_pandas_at(orders, t) for t in CUTOFFS]).to_parquet(out)


def pandas_plain(lines: Path, out: Path) -> None:
    """What is written first: at each cutoff the lines before it, then the same."""
    import pandas as pd

    table = pd.read_parquet(
        lines, columns=["customer_id", "order_id", "event_time", "amount_minor", "quantity"]
    )
    parts = []
    for cutoff in CUTOFFS:
        before = table[table["event_time"] < cutoff]
        orders = before.groupby(["customer_id", "order_id"], as_index=False).agg(
            t=("event_time", "min"), amount=("amount_minor", "sum"), quantity=("quantity", "sum")
        )
        parts.append(_pandas_at(orders, cutoff))
    pd.concat(parts).to_parquet(out)


def _pandas_at(orders: Any, cutoff: datetime) -> Any:
    import pandas as pd

    seen = orders[orders["t"] < cutoff].sort_values(["customer_id", "t", "order_id"])
    seen = seen.assign(
        age=(pd.Timestamp(cutoff) - seen["t"]).dt.total_seconds() / 86_400,
        day=seen["t"].dt.normalize(),
    )
    seen["gap"] = seen.groupby("customer_id")["day"].diff().dt.days
    seen["gap"] = seen["gap"].where(seen["gap"] != 0)
    by = seen.groupby("customer_id")
    table = by.agg(
        rfm__recency_days=("age", "min"), rfm__T_days=("age", "max"), n=("age", "size"),
        amount=("amount", "sum"), cadence__gap_mean_days=("gap", "mean"),
        cadence__gap_sd_days=("gap", "std"), cadence__gap_max_days=("gap", "max"),
    )  # fmt: skip
    table["rfm__frequency_orders"] = table["n"] - 1
    table["rfm__monetary_value"] = table["amount"] / 100 / table["n"]
    for w in WINDOWS:
        inside = seen[seen["age"] <= w].groupby("customer_id")
        sums = inside.agg(n=("age", "size"), amount=("amount", "sum"), quantity=("quantity", "sum"))
        sums = sums.reindex(table.index, fill_value=0)
        table[f"orders__orders_{w}d"] = sums["n"]
        table[f"orders__spend_{w}d"] = sums["amount"] / 100
        table[f"orders__items_{w}d"] = sums["quantity"]
    return table[NAMES].assign(cutoff=cutoff).reset_index()


def ours(lines: Path, out: Path) -> None:
    """The whole engine on published tables."""
    built(lines, out, [
        {
            "use": f"{name}.{name.title()}",
            "columns": [n for n in NAMES if n.startswith(f"{name}__")],
        }
        for name in ("rfm", "orders", "cadence")
    ])  # fmt: skip


def catalogue(lines: Path, out: Path) -> None:
    """The same with every column of every set that orders are enough for."""
    built(lines, out, [{"use": use, "config": config} for use, config in FROM_ORDERS.items()])


def built(lines: Path, out: Path, sets: list[dict[str, Any]]) -> None:
    """Compute the columns of the sets; none named = all of a set's."""
    from features.cutoffs import Moments
    from features.settings import Workspace
    from features.snapshot import FeaturePart, FeaturePlan, build_features
    from features.sources import load_source
    from features.store import Published
    from features.tables import Stored

    place = Workspace.locate(store=out)
    plan = FeaturePlan(
        data="online_retail_II",
        cutoffs={"test": CUTOFFS[-1].date(), "latest": CUTOFFS[-2].date(), "count": 11},
        features=[FeaturePart(**part) for part in sets],
    )
    manifest = json.loads((lines.parent / "manifest.json").read_text())
    stored = Stored(load_source(place, plan.data, {}), Published(lines.parent, manifest, True))
    found = build_features(place, stored, plan, Moments(tuple(CUTOFFS[:-1]), CUTOFFS[-1]))
    (out / "built").write_text(str(found.folder))


RUNS: dict[str, Callable[[Path, Path], None]] = {
    "limit: scan + one aggregate": limit,
    "ours": ours,
    CATALOGUE: catalogue,
    "DuckDB SQL": duckdb_sql,
    "polars": polars_lazy,
    "pandas, collapsed": pandas_collapsed,
    "pandas, straightforward": pandas_plain,
}

COMPARED = [name for name in RUNS if name not in ("ours", CATALOGUE, next(iter(RUNS)))]
"""Runs that give the same columns as ours."""

IMPORTS = {
    "limit: scan + one aggregate": ("duckdb",),
    **dict.fromkeys(
        ("ours", CATALOGUE),
        (
            *("features.snapshot", "features.sources", "features.tables"),
            *(f"features.sets.{name.partition('.')[0]}" for name in FROM_ORDERS),
        ),
    ),
    "DuckDB SQL": ("duckdb",),
    "polars": ("polars",),
}
"""By run; the others need pandas."""


# --- running and comparing ------------------------------------------------------------------


def run_alone(name: str, lines: Path, out: Path) -> tuple[float, ...]:
    """Seconds after imports, of processors, and peak MB of a run in a process of its own."""
    child = subprocess.run(
        [sys.executable, __file__, "--run", name, str(lines), str(out)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return tuple(map(float, child.stdout.split()[-3:]))


def child_main(name: str, lines: Path, out: Path) -> None:
    """Import what the run needs, then time it: seconds, of the processors too, and peak MB."""
    for module in IMPORTS.get(name, ("pandas",)):
        importlib.import_module(module)
    gc.collect()
    begun, worked = time.monotonic(), time.process_time()
    RUNS[name](lines, out)
    seconds, worked = time.monotonic() - begun, time.process_time() - worked
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's, too
    print(seconds, worked, float(status.split("VmHWM:")[1].split()[0]) / 1e3)


def replicated(base: Path, times: int, root: Path) -> Path:
    """A folder of published tables with ``times`` as many customers."""
    import duckdb

    folder = root / f"x{times}" / "tables"
    folder.mkdir(parents=True)
    manifest = json.loads((base / "manifest.json").read_text())
    lines = folder / "order_lines.parquet"
    step = (1 << 62) // times
    # Ids of each copy in an own range; the source's spread over 63 bits is scaled into it.
    base_lines = base / "order_lines.parquet"
    copied = f"'{base_lines}'"
    if times > 1:
        own = f"customer_id // {2 * times} + copy * {step}"
        copied = (
            f"(SELECT * EXCLUDE (copy) REPLACE ({own} AS customer_id) "
            f"FROM '{base_lines}', range({times}) r(copy) ORDER BY copy, source_row)"
        )
    duckdb.sql("SET memory_limit = '4GB'")
    duckdb.sql(f"COPY (SELECT * FROM {copied}) TO '{lines}' (FORMAT parquet, COMPRESSION zstd)")
    manifest["content"] = f"{manifest['content']}x{times}"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return lines


def same(ours_folder: Path, other: Path) -> float:
    """Largest relative difference over all columns; inf where rows or gaps differ."""
    import numpy as np
    import pandas as pd

    from features.snapshot import read_features

    a = read_features(Path((ours_folder / "built").read_text())).to_pandas()
    b = pd.read_parquet(other).sort_values(["cutoff", "customer_id"], ignore_index=True)
    if len(a) != len(b) or not (a["customer_id"] == b["customer_id"]).all():
        return float("inf")
    x, y = a[NAMES].to_numpy(np.float64), b[NAMES].to_numpy(np.float64)
    if (np.isnan(x) != np.isnan(y)).any():
        return float("inf")
    return float(np.nanmax(np.abs(x - y) / np.maximum(np.abs(x), 1)))


def varied(folder: Path) -> str:
    """How many columns there are, and how many of them have more than one value."""
    from features.snapshot import read_features

    table = read_features(Path((folder / "built").read_text()))
    columns = table.column_names[2:]
    several = sum(len(table[name].unique()) > 1 for name in columns)
    return f"{len(columns)} columns for {table.num_rows:,} customers and cutoffs, {several} vary"


def main() -> None:
    """Build the gross tables once, replicate, run everybody in turn, print medians and ratios."""
    from features.settings import Workspace
    from features.sources import load_source
    from features.tables import build_tables

    sizes = [int(text) for text in sys.argv[1:]] or [1, 10]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        place = Workspace.locate(
            store=root / "store", data=Path(os.environ["PERENNIAL_DATA_DIR"])
        ).model_copy(update={"keys": root / "keys"})
        source = load_source(place, "online_retail_II", {"order_lines.net_returns": False})
        base = build_tables(place, source).published.folder
        print(
            f"{'copies':>6} {'run':28} {'seconds':>8} {'of CPU':>7} {'x ours':>7} {'x limit':>8} "
            f"{'MB':>6} same"
        )
        for times in sizes:
            lines = replicated(base, times, root)
            found: dict[str, list[tuple[float, ...]]] = {name: [] for name in RUNS}
            differences: dict[str, float] = {}
            rounds = REPEATS if times <= 10 else 1
            for turn in range(rounds):
                for name in RUNS:
                    if name.startswith(("pandas", CATALOGUE)) and turn:
                        continue
                    out = root / f"out-{times}-{turn}-{name.split(',')[0].split(':')[0]}"
                    out = out if name in ("ours", CATALOGUE) else out.with_suffix(".parquet")
                    if not out.suffix:
                        out.mkdir()
                    if name == "ours":
                        ours_out = out
                    if name == CATALOGUE:
                        catalogue_out = out
                    found[name].append(run_alone(name, lines, out))
                    if name in COMPARED and not turn:
                        differences[name] = same(ours_out, out)
            medians = {name: sorted(runs)[len(runs) // 2] for name, runs in found.items()}
            for name, (seconds, worked, peak) in medians.items():
                print(
                    f"{times:6d} {name:28} {seconds:8.2f} {worked:7.2f} "
                    f"{seconds / medians['ours'][0]:7.2f} "
                    f"{seconds / medians['limit: scan + one aggregate'][0]:8.1f} {peak:6.0f} "
                    f"{differences.get(name, 0.0):.1e}"
                )
            print(f"{times:6d} {CATALOGUE}: {varied(catalogue_out)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        child_main(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
