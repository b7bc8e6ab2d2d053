"""The whole thread through real processes and HTTP: what `make demo` does, on a small world."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from features.errors import PerennialError
from features.settings import Workspace
from serving import demo as thread
from serving.demo import Example, Made

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


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two lanes whose commands are not run: what was said instead, in order."""
    said: list[str] = []
    together = threading.Barrier(2, timeout=60)

    def one(place: Workspace, config: Path, settings: Sequence[str]) -> Made:
        said.append(f"begins {config.stem}")
        if config.stem != "clv":
            together.wait()
        if "fails" in said and config.stem == "churn":
            raise PerennialError("no customers")
        logging.getLogger("perennial").warning("said")
        said.append(f"ends {config.stem}")
        return Made(config.stem, 1, "", "", config, Example("", config))

    monkeypatch.setattr(thread, "_one", one)
    monkeypatch.setattr(thread, "_door", lambda *_: "")
    monkeypatch.setattr(thread, "available_threads", lambda: 2)
    return said


def test_pipelines_run_at_once_and_value_waits_for_churn(
    place: Workspace, lanes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Two at a time, told apart by name; what is held against a champion comes after it."""
    made = thread.demo(place, ["clv", "churn", "segments"], "simulated")
    assert [one.model for one in made] == ["clv", "churn", "segments"]
    assert {*lanes[:2]} == {"begins churn", "begins segments"}
    assert lanes.index("ends churn") < lanes.index("begins clv")
    assert caplog.text.count("| said") == 3
    for name in ("clv", "churn", "segments"):
        assert f"{name:9} | said\n" in caplog.text


def test_a_pipeline_that_fails_stops_those_that_wait_for_it(
    place: Workspace, lanes: list[str]
) -> None:
    """What runs beside it ends, and the error is said."""
    lanes.append("fails")
    with pytest.raises(PerennialError, match="no customers"):
        thread.demo(place, ["churn", "clv", "segments"], "simulated")
    assert "ends segments" in lanes
    assert "begins clv" not in lanes
