"""Whether the search helped: the tuned parameters against those of the config as written."""

from pathlib import Path

import pandas as pd

from training.contract import Floats, Kind
from training.evaluate import judge
from training.gates import CANDIDATE
from training.rows import Rows

FILE = "as_written.parquet"
WRITTEN = "as written"


def write(folder: Path, answers: Floats) -> None:
    """Keep what the model as written answers to the test rows, before calibration."""
    pd.DataFrame({WRITTEN: answers}).to_parquet(folder / FILE)


def sentence(
    folder: Path, rows: Rows, tuned: Floats, metric: str, kind: Kind, repeats: int, seed: int
) -> str:
    """By how much tuned parameters beat those as written, paired; empty where nothing was tuned."""
    if not (folder / FILE).is_file():
        return ""
    given = {CANDIDATE: tuned, WRITTEN: pd.read_parquet(folder / FILE)[WRITTEN].to_numpy(float)}
    judged = judge(rows, given, dict.fromkeys(given, 0.5), repeats, seed, kind)
    by, low, high = judged.difference(metric, CANDIDATE, WRITTEN)
    verdict = (
        "the search helped" if low > 0
        else "the search did harm" if high < 0
        else "the search is not shown to have helped"
    )  # fmt: skip
    return (
        f"Tuned against as written, by {metric} on the test rows before calibration: better by "
        f"{by:+.4f} [{low:+.4f}, {high:+.4f}]; {verdict}."
    )
