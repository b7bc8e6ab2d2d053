"""A run killed at random moments, again and again: it ends as one that nothing disturbed."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from features.settings import Workspace
from tests.training.finished import MARKS, Runs, coded, drawn, planned
from tests.worlds import CONFIGS
from training import pack
from training.record import Record
from training.runs import run
from training.tracker import client

pytestmark = MARKS[1:]
CLEAN = multiprocessing.get_context("forkserver")
"""Children of a process that has the modules and no threads: those of a test's own may crash."""
CLEAN.set_forkserver_preload(["training.runs", "tests.training.finished", "xgboost", "mlflow"])
QUICK = ("baselines=[{use: recency.Recency}]", "stale_months=[1]", "model.config.trees=5")


def _run(environment: dict[str, str], place: Workspace, settings: tuple[str, ...]) -> None:
    """A run without pictures, of a tree in a known state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", drawn)
        patch.setattr(pack, "code_state", lambda: coded("clean"))
        for name, value in environment.items():
            patch.setenv(name, value)
        run(place, planned(place, *settings))


def _attempt(place: Workspace, settings: tuple[str, ...], seconds: float) -> bool:
    """Run, and kill what is not through after so many seconds; whether it came to its end."""
    process = CLEAN.Process(target=_run, args=(dict(os.environ), place, settings))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        return False
    assert process.exitcode == 0
    return True


@pytest.mark.parametrize("kills", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_random_kills_lose_and_double_nothing(
    kills: int, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL from the search to the record: one version, one entry, one pack, the same bundle."""
    monkeypatch.setenv("PERENNIAL_STORE", str(runs.place.store))
    monkeypatch.setenv("PERENNIAL_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("PERENNIAL_KEYS_DIR", str(runs.place.keys))
    place = Workspace.locate(configs=CONFIGS)
    undisturbed = place.model_copy(
        update={"store": tmp_path / "store", "registry": tmp_path / "another"}
    )
    for name in ("tables", "features", "checks"):
        (tmp_path / "store").mkdir(exist_ok=True)
        os.symlink(place.store / name, tmp_path / "store" / name)
    for each in (place, undisturbed):
        client(each).search_experiments()  # its tables are there
    begun = time.monotonic()
    assert _attempt(undisturbed, ("seed=101", *QUICK), 300)
    whole = time.monotonic() - begun  # moments are shares of it: any machine is killed everywhere
    moments, killed, seed = random.Random(kills), 0, 100
    while killed < kills:
        seed += 1
        settings = (f"seed={seed}", *QUICK)
        while not _attempt(
            place, settings, moments.uniform(0.03, 0.45) * whole if killed < kills else 300
        ):
            killed += 1
        entries = [e for e in Record(place).entries("churn") if e.event == "registered"]
        assert [e.version for e in entries] == [*range(1, seed - 99)]
        assert len(client(place).search_model_versions("name = 'churn'")) == seed - 100
    assert not list((place.store / "studies").glob("*.db"))
    (alone,) = Record(undisturbed).entries("churn")
    assert alone.digest == entries[0].digest
