"""Fixtures over the finished runs; whoever asks for none pays for none."""

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from features.settings import Workspace
from tests.training.finished import Runs, drawn, settled
from tests.worlds import CONFIGS


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The three versions, made once."""
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def decided(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Store and keys of the runs, with a copy of the registry: version 1 is champion."""
    settled(runs.folder, monkeypatch)
    monkeypatch.setattr(Figure, "savefig", drawn)
    registry = shutil.copytree(runs.after, tmp_path / "registry")
    monkeypatch.setenv("PERENNIAL_REGISTRY", str(registry))
    return Workspace.locate(configs=CONFIGS)


@pytest.fixture
def undecided(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same as it was before any decision: versions 1 and 2, no champion."""
    registry = shutil.copytree(runs.before, tmp_path / "undecided")
    monkeypatch.setenv("PERENNIAL_REGISTRY", str(registry))
    return Workspace.locate(configs=CONFIGS)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots whose drawing proves nothing more are left out."""
    monkeypatch.setattr(Figure, "savefig", drawn)
