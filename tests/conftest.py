"""Fixtures for all tests: an own workspace each, and settings of hypothesis that repeat."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from features import staging
from features.settings import Workspace
from tests.reading import reading_here
from tests.worlds import CONFIGS

# As at the doors: idle OpenMP threads sleep, where spinning ones would take the cores from others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

LARGE = 7_200
"""Seconds that a test in its large size may take: on a busy machine it must end, too."""

# The same examples on every run, and nothing written into the tree; HYPOTHESIS_PROFILE=explore
# draws new ones.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "perennial-hypothesis")
settings.register_profile(
    "repeat",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", settings.get_profile("repeat"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Large sizes run where they are asked for; each has a smaller one that always runs."""
    large = (
        pytest.mark.timeout(LARGE)
        if os.environ.get("PERENNIAL_TEST_ALL")
        else pytest.mark.skip(reason="large size: run by `make test-all`; a smaller one runs here")
    )
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(large)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The test's own store, registry, keys and raw files; nobody else's are touched."""
    base = tmp_path / "workspace"
    for variable, name in (
        ("PERENNIAL_STORE", "store"),
        ("PERENNIAL_REGISTRY", "registry"),
        ("PERENNIAL_KEYS_DIR", "keys"),
        ("XDG_CONFIG_HOME", "config"),
    ):
        monkeypatch.setenv(variable, str(base / name))
    raw = base / "raw"
    raw.mkdir(parents=True)
    return Workspace.locate(data=raw, configs=CONFIGS)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the published data sets; the test is skipped where it is not named."""
    named = os.environ.get("PERENNIAL_DATA_DIR")
    if not named:
        pytest.skip("reads the published files: set PERENNIAL_DATA_DIR to their folder")
    return Path(named)


@pytest.fixture
def reader_here() -> Iterator[None]:
    """Raw files are read in this process, by the child's own code: the same without its start."""
    with reading_here():
        yield


@pytest.fixture
def reader_child(reader_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw files are read by the guarded child process after all, as in a build."""
    del reader_here
    monkeypatch.setattr(staging, "subprocess", subprocess)
