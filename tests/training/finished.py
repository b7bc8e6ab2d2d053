"""Three registered versions of a small pipeline, made once for the tests that look at them.

Version 1 comes from a run that was killed and taken up again, version 2 from another seed with a
gate that nothing passes, version 3 is version 2's model judged anew after version 1 became
champion. Each test decides on its own copy of the registry.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.figure import Figure
from typer.testing import CliRunner

from features.settings import Workspace
from tests.worlds import CONFIGS, ROOT
from training import pack, pipeline, review
from training.__main__ import app
from training.keys import add_reviewer
from training.record import Record
from training.runs import run
from training.tracker import client

MARKS = [
    pytest.mark.usefixtures("decided"),
    *(
        pytest.mark.filterwarnings(line)
        for line in (
            "ignore::PendingDeprecationWarning:shap.*",
            "ignore::sqlalchemy.exc.SADeprecationWarning:mlflow.*",
            "ignore:.*Any type hint is inferred as AnyType:UserWarning",
            "ignore:Operation with range:pandas.errors.Pandas4Warning",
        )
    ),
]
"""Of files that test finished runs."""

PIPELINE: dict[str, Any] = {
    "name": "churn",
    "data": "simulated",
    "source": {
        "simulate.customers": 500, "simulate.days": 800, "simulate.tables": ["order_lines"],
    },
    "task": {"use": "churn.Churn", "config": {"horizon_days": 60, "active_within_days": 365}},
    "cutoffs": {
        "test": "end-60d", "latest": "end-120d", "every_days": 60, "count": 5, "folds": 2,
        "fold_steps": 1, "history_days": 60,
    },
    "features": [{"use": "rfm.Rfm"}],
    "model": {
        "use": "gbm.Gbm",
        "config": {"trees": 20, "max_depth": 2, "learning_rate": 0.2, "min_child_weight": 5},
    },
    "baselines": [{"use": "recency.Recency"}, {"use": "logistic.Logistic"}],
    "search": {
        "trials": 4,
        "metric": "average_precision",
        "space": {"max_depth": [2, 4], "min_child_weight": [1, 30, "log"]},
    },
    "calibrate": {"kinds": ["platt"]},  # two blocks of few customers can choose no curve
    "gates": {"roc_auc": {"min": 0.5, "champion_margin": 0.5}},
    "bootstrap": 20,
    "card": {
        "owner": "us", "purpose": "to test", "users": "testers", "misuse": "nothing else",
        "limits": "few customers",
    },
}  # fmt: skip
ANOTHER = ("seed=8", "gates.roc_auc.min=0.999")
TREES = ("clean", "changed", "unknown")
"""The state of the tree that versions 1, 2 and 3 are said to come from."""
PIXEL = b"\x89PNG\r\n\x1a\n"
VARIABLES = {
    "PERENNIAL_STORE": "store",
    "PERENNIAL_REGISTRY": "registry",
    "PERENNIAL_KEYS_DIR": "keys",
    "XDG_CONFIG_HOME": "config",
}


def drawn(_: Figure, path: Path, **__: Any) -> None:
    """Instead of a plot that nobody looks at: drawing is the larger half of judging."""
    path.write_bytes(PIXEL)


class Killed(BaseException):
    """Nothing that code would catch."""


@contextmanager
def said() -> Iterator[list[str]]:
    """What the program says while it runs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("perennial")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def settled(folder: Path, patched: pytest.MonkeyPatch) -> Workspace:
    """The workspace below ``folder``, in the environment too; four people may decide."""
    for variable, name in VARIABLES.items():
        patched.setenv(variable, str(folder / name))
    place = Workspace.locate(configs=CONFIGS)
    for reviewer in ("Ada", "Bob", "Eve", "Grace"):
        add_reviewer(place.keys, reviewer)
    return place


def planned(place: Workspace, *assignments: str) -> pipeline.Plan:
    """The pipeline with ``--set`` assignments."""
    path = place.store.parent / "churn.yaml"
    path.write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    return pipeline.load_plan(place, path, assignments)


def started(place: Workspace, *arguments: str) -> subprocess.Popen[str]:
    """``python -m training`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "training", *arguments], cwd=ROOT, text=True, env={**os.environ},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def killed_at(place: Workspace, line: str) -> list[str]:
    """Run the pipeline and kill it when it says ``line``; return what it had said."""
    planned(place)
    process = started(place, "run", str(place.store.parent / "churn.yaml"))
    assert process.stderr is not None
    heard = []
    for text in process.stderr:
        heard.append(text)
        if line in text:
            process.kill()
            break
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, "".join(heard)
    return heard


def coded(tree: str) -> dict[str, str]:
    """The state of the code that a version is said to come from."""
    return {"commit": f"commit-{tree}", "tree": tree}


class Runs:
    """Three registered versions, and what was said and left on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with pytest.MonkeyPatch.context() as patched:
            self.place = settled(folder, patched)
            self.heard_before_the_kill = killed_at(self.place, "trial 2/4")
            self.entries_after_the_kill = Record(self.place).entries()
            self.one, self.said_on_resuming = self.run(patched, "clean")

            patched.setattr(Figure, "savefig", drawn)
            with pytest.MonkeyPatch.context() as dying:
                dying.setattr(Record, "append", self.die)
                with pytest.raises(Killed):
                    self.run(patched, "changed", *ANOTHER)
            self.entries_before_the_record = Record(self.place).entries()
            self.two, self.said_at_the_record = self.run(patched, "changed", *ANOTHER)

            self.before = folder / "before-any-decision"
            shutil.copytree(self.place.registry, self.before, ignore=_artifacts)
            review.approve(self.place, "churn", 1, "Ada", "good enough")
            self.three, _ = self.run(patched, "unknown", *ANOTHER)
            self.after = folder / "with-a-champion"
            shutil.copytree(self.place.registry, self.after, ignore=_artifacts)

    def run(self, patched: pytest.MonkeyPatch, tree: str, *assignments: str) -> Any:
        """Run the pipeline; what it left and what it said."""
        patched.setattr(pack, "code_state", lambda: coded(tree))
        with said() as lines:
            return run(self.place, planned(self.place, *assignments)), lines

    @staticmethod
    def die(*_: object, **__: object) -> None:
        """A power cut."""
        raise Killed


def _artifacts(folder: str, names: list[str]) -> set[str]:
    """Artifacts stay where the databases say they are."""
    return {"artifacts"} & set(names)


@contextmanager
def changed(path: Path, data: bytes | None) -> Iterator[None]:
    """A file with other bytes, or without the file; put back afterwards."""
    before = path.read_bytes()
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def aliases(place: Workspace) -> dict[str, int]:
    """MLflow's aliases of the model."""
    found = client(place).get_registered_model("churn").aliases
    return {name: int(version) for name, version in found.items()}


def tags(place: Workspace, version: int) -> dict[str, str]:
    """MLflow's tags of a version."""
    return dict(client(place).get_model_version("churn", str(version)).tags)


def asked(*arguments: str) -> Any:
    """The same command in this process."""
    mask = os.umask(0o022)
    try:
        return CliRunner().invoke(app, list(arguments))
    finally:
        os.umask(mask)
