"""The whole thread through real processes and HTTP: what `make demo` does, on a small world."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "source.simulate.customers=500",
    "source.simulate.tables=[order_lines]",
    "search.trials=2",
    "bootstrap=40",
    "cutoffs.count=6",
    "cutoffs.folds=2",
    "cutoffs.fold_steps=1",
    "stale_months=[1]",
    "model.config.trees=60",
    "features=[{use: rfm.Rfm}]",
)


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the demo on a small simulated retailer, everything below ``folder``."""
    settings = [word for text in (*SMALL, "gates={}") for word in ("--set", text)]
    environment = os.environ | {
        "PERENNIAL_STORE": str(folder / "store"),
        "PERENNIAL_REGISTRY": str(folder / "registry"),
        "PERENNIAL_KEYS_DIR": str(folder / "keys"),
    }
    return subprocess.run(
        [sys.executable, "-m", "serving", "demo", "churn", *settings],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip


@pytest.mark.e2e
def test_demo_goes_from_raw_file_to_http_answers_and_recognises_what_is_done(
    tmp_path: Path,
) -> None:
    """Everything is made once, golden rows agree over HTTP; nothing is made twice."""
    first = demo(tmp_path)
    assert first.returncode == 0, first.stderr
    assert "golden requests over HTTP: largest difference 0" in first.stderr
    assert "20 customers by id: largest difference" in first.stderr
    answers = (tmp_path / "store" / "churn.csv").read_text().splitlines()
    assert answers[0].startswith("source_id,churn_probability,score")
    assert len(answers) > 100
    assert re.search(r"churn version 1, champion, packaged as Bento churn:", first.stdout)
    example = json.loads((tmp_path / "store" / "churn.example.json").read_text())
    assert len(example["rows"]) == 1
    second = demo(tmp_path)
    assert second.returncode == 0, second.stderr
    assert "churn version 1, champion" in second.stdout
    for step in (
        "tables",
        "features",
        "search",
        "fit",
        "review pack",
        "version 1",
        "approval of version 1",
    ):
        assert f"{step}: already done with the same inputs" in second.stderr
    assert "already packaged as" in second.stderr
    left = subprocess.run(
        ["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert left.stdout == "", "the demo stops what it started"
