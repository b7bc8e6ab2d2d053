"""Checks of a finished table: ours beside the same ones by pandera's Ibis backend on DuckDB.

Five promises (no missing value, a range, allowed words, a pattern, no order line twice) of invented
order lines in Parquet, of which one in a hundred breaks the range and one in a hundred the words.
Each side runs in a process of its own, from the file to what it found; seconds, peak memory, what
it says, and whether that repeats values of the rows. Needs `pandera` (not in the lock) beside us.

    python benchmarks/table_checks.py [rows]   (default 2,000,000)
"""

import importlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ["web", "store", "app"]
PATTERN = r"^o[0-9]+$"
RANGE = (1, 1_000)
ODD = 777_777
"""A quantity out of range: a message that has it repeats values."""


def invented(rows: int, path: Path) -> None:
    """Order lines, some with a quantity out of range, others with an unknown channel."""
    rng = np.random.default_rng(0)
    quantity = rng.integers(1, 50, rows)
    quantity[rng.random(rows) < 0.01] = ODD
    channel = rng.choice([*WORDS, "fax"], rows, p=[0.5, 0.3, 0.19, 0.01])
    pq.write_table(
        pa.table({
            "order_id": [f"o{n // 3}" for n in range(rows)], "line": np.arange(rows) % 3,
            "quantity": quantity, "channel": channel,
        }),
        path,
    )  # fmt: skip


def ours(path: Path) -> str:
    """By the checks of a source's YAML."""
    from features.checks import Check, findings

    checks = {
        "known": Check(columns=("quantity",), not_null=True),
        "range": Check(columns=("quantity",), between=RANGE),
        "words": Check(columns=("channel",), among=WORDS),
        "pattern": Check(columns=("order_id",), matches=PATTERN),
        "once": Check(columns=("order_id", "line"), unique=True),
    }
    return "\n".join(map(str, findings(path.stem, checks, path.parent, {}, None)))


def pandera(path: Path) -> str:
    """By pandera, all problems at once."""
    import ibis
    import pandera.ibis as po

    schema = po.DataFrameSchema(
        {
            "order_id": po.Column(str, po.Check.str_matches(PATTERN)),
            "line": po.Column(int),
            "quantity": po.Column(int, po.Check.in_range(*RANGE), nullable=False),
            "channel": po.Column(str, po.Check.isin(WORDS)),
        },
        unique=["order_id", "line"],
    )
    try:
        schema.validate(ibis.duckdb.connect().read_parquet(path), lazy=True)
    except po.errors.SchemaErrors as errors:
        return str(errors)
    return ""


SIDES = {"ours": ours, "pandera": pandera}


def child(side: str, path: Path) -> None:
    """One side, after its imports."""
    importlib.import_module({"ours": "features.checks", "pandera": "pandera.ibis"}[side])
    begun = time.perf_counter()
    said = SIDES[side](path)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    repeats = "repeats values" if str(ODD) in said else "repeats no value"
    print(f"{seconds:6.2f} s, {peak:6.0f} MB, says {len(said):,} characters and {repeats}")


def main() -> None:
    """Write the table, run each side."""
    if sys.argv[1:2] == ["--run"]:
        child(sys.argv[2], Path(sys.argv[3]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "order_lines.parquet"
        invented(rows, path)
        print(f"{rows:,} order lines, five checks")
        for side in SIDES:
            command = [sys.executable, __file__, "--run", side, str(path)]
            said = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = (said.stdout or said.stderr).strip().splitlines()
            print(f"  {side:8s} {lines[-1]}")


if __name__ == "__main__":
    main()
