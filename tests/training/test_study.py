"""A study worked on by several processes, and killed: the same trials, none lost, none doubled."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from features.errors import ConfigError
from features.settings import Workspace
from tests.features.conftest import postgres  # noqa: F401  (a fixture)
from tests.worlds import CONFIGS
from training import workers as module
from training.pipeline import load_plan
from training.study import SharedStudy, storage_url

TRIALS, TOGETHER = 10, 3
FORKED = multiprocessing.get_context("fork")


def propose(place: int, known: Sequence[Any]) -> dict[str, float]:
    """A number that depends on the place and on every finished trial of earlier batches."""
    return {"x": (0.37 * (place + 1) + sum(t.values[0] for t in known if t.values)) % 1.0}


def worked(url: str | None, told: Path, seconds: float = 0.0) -> list[tuple[Any, ...]]:
    """Work on the study to its end; each trial as state, value and parameters."""
    import optuna

    def evaluate(trial: Any, known: Sequence[Any]) -> float:
        value = (trial.params["x"] - 0.5) ** 2
        trial.report(value, 0)
        time.sleep(seconds)
        with told.open("a") as stream:
            stream.write(f"{trial.user_attrs['place']}\n")
        if known and value > max(t.value for t in known):
            raise optuna.TrialPruned
        return float(value)

    study = SharedStudy(url, "one", "of this", minimize=True)
    space = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    found = study.complete(TRIALS, TOGETHER, space, propose, evaluate, lambda *_: None)
    return [(t.state, t.value, t.params, t.user_attrs["place"]) for t in found]


def begun(url: str, told: Path, seconds: float) -> Any:
    """A process that works on the study."""
    process = FORKED.Process(target=worked, args=(url, told, seconds))
    process.start()
    return process


def several(url: str, told: Path) -> None:
    """Three processes at once work on the study, to its end."""
    SharedStudy(url, "one", "of this", minimize=True).close()
    running = [begun(url, told, 0.02) for _ in range(3)]
    for process in running:
        process.join(60)
        assert process.exitcode == 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What one process finds undisturbed, in memory; some trials are pruned."""
    found = worked(None, tmp_path_factory.mktemp("alone") / "told")
    assert {state.name for state, *_ in found} == {"COMPLETE", "PRUNED"}
    return found


def test_any_number_of_workers_finds_the_same(alone: Any, tmp_path: Path) -> None:
    """Three processes on one SQLite file: the trials of one, each place evaluated once."""
    url, told = storage_url(tmp_path / "study.db"), tmp_path / "told"
    several(url, told)
    assert worked(url, tmp_path / "nothing") == alone
    assert not (tmp_path / "nothing").exists()  # all was done
    assert sorted(map(int, told.read_text().split())) == [*range(TRIALS)]


def test_several_machines_share_a_postgresql_database(
    alone: Any,
    tmp_path: Path,
    postgres: str,  # noqa: F811
) -> None:
    """The same on a server, reached by URL."""
    url, told = postgres.replace("postgresql:", "postgresql+psycopg:"), tmp_path / "told"
    several(url, told)
    assert worked(url, tmp_path / "nothing") == alone
    assert sorted(map(int, told.read_text().split())) == [*range(TRIALS)]


@pytest.mark.parametrize("kills", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_killed_anywhere_nothing_is_lost_or_doubled(kills: int, alone: Any, tmp_path: Path) -> None:
    """SIGKILL at random moments, two processes at work: the end is that of an undisturbed study."""
    moments = random.Random(kills)
    killed, study = 0, 0
    while killed < kills:
        url, told = storage_url(tmp_path / f"{study}.db"), tmp_path / f"{study}"
        SharedStudy(url, "one", "of this", minimize=True).close()
        other = begun(url, told, 0.03)
        while (process := begun(url, told, 0.03)) and killed < kills:
            process.join(moments.uniform(0.02, 0.25))
            if process.exitcode == 0:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed += 1
            if moments.random() < 0.3:
                other.kill()
                other.join()
                other = begun(url, told, 0.03)
        for left in (process, other):
            left.join(60)
            assert left.exitcode == 0
        assert worked(url, tmp_path / "nothing") == alone
        study += 1
    assert not (tmp_path / "nothing").exists()


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    """Of other settings, none at all, no storage: each with the remedy."""
    url = storage_url(tmp_path / "study.db")
    with pytest.raises(ConfigError, match=r"nobody searches this here .*begin with .*training run"):
        SharedStudy(url, "one", "of this", minimize=True, join=True)
    SharedStudy(url, "one", "of this", minimize=True)
    with pytest.raises(ConfigError, match=r"study\.db: study one is of other settings"):
        SharedStudy(url, "one", "of that", minimize=True)
    with pytest.raises(ConfigError, match=r"//ann:\*\*\*@127\.0\.0\.1:1/none: not a storage"):
        SharedStudy(
            "postgresql+psycopg://ann:secret@127.0.0.1:1/none", "one", "of this", minimize=True
        )


# --- further processes of a run ------------------------------------------------------------------


class Begun:
    """A process that was begun, as far as a test cares: it ends when it is told to."""

    commands: ClassVar[list[list[str]]] = []
    returncode = 0

    def __init__(self, command: list[str], env: dict[str, str], **_: object) -> None:
        self.env, self.ended = env, threading.Event()
        assert Path(command[4]).is_file()  # the settings are there
        self.commands.append(command)

    def terminate(self) -> None:
        """End it."""
        self.ended.set()

    def wait(self) -> int:
        """Until it ended."""
        assert self.ended.wait(10)
        return 0


@pytest.mark.parametrize(("said", "together", "count"), [("3", 8, 2), ("9", 4, 3), ("1", 8, 0)])
def test_as_many_workers_as_are_of_use(
    said: str, together: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the run itself; they join the search of the same settings and end with it."""
    monkeypatch.setattr(module.subprocess, "Popen", Begun)
    monkeypatch.setattr(Begun, "commands", [])
    monkeypatch.setenv(module.WORKERS, said)
    place = Workspace.locate(store=tmp_path / "store", configs=CONFIGS)
    plan = load_plan(place, CONFIGS / "churn.yaml")
    with module.workers(place, plan, together, tmp_path / "study.db"):
        assert len(Begun.commands) == count
    assert all(c[1:4] == ["-m", "training", "search"] for c in Begun.commands)
    assert all(str(tmp_path / "store") in c for c in Begun.commands)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("study")]
    monkeypatch.setenv(module.WORKERS, "many")
    with (
        pytest.raises(ConfigError, match="PERENNIAL_WORKERS='many': expected the number"),
        module.workers(place, plan, together, tmp_path / "study.db"),
    ):
        pass
