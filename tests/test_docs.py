"""What the documents say holds: examples run, commands exist, figures name their script."""

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import ibis.expr.types as ir
import pytest

from features import columns as c
from features.schema import FeatureColumn
from features.settings import Strict
from features.views import View
from tests.worlds import ROOT, computed, line, world

README = (ROOT / "README.md").read_text()
ADDING = (ROOT / "docs" / "adding.md").read_text()


def test_the_example_feature_set_works() -> None:
    """The set that docs/adding.md shows counts weekdays as it says."""
    code = re.search(r"```python\n(.*?)```", ADDING, re.DOTALL)
    assert code is not None
    names = {"Strict": Strict, "FeatureColumn": FeatureColumn, "View": View, "ir": ir, "c": c}
    exec(compile(code[1], "docs/adding.md", "exec"), names)
    weekdays = names["Weekdays"](names["WeekdaysConfig"]())  # type: ignore[operator]
    rows = [line(1, f"2010-12-0{day}", f"S{day}") for day in (1, 2, 8)]  # two Wednesdays
    found = computed([weekdays], world(rows), [datetime(2011, 1, 1)])
    assert found["weekdays__used_days"].to_pylist() == [2.0]


def commands() -> list[str]:
    """Every command of a door that the README shows."""
    return sorted(set(re.findall(r"python -m (\w+ \w+)", README)))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_readme_exist(command: str) -> None:
    """Each answers --help."""
    words = [sys.executable, "-m", *command.split(), "--help"]
    found = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    assert "Usage:" in found.stdout


def test_files_that_the_documents_name_are_there() -> None:
    """Links and scripts point at files of the project."""
    named = re.findall(
        r"`((?:benchmarks|configs|docs|features|training|serving)/[\w./-]+)`", README + ADDING
    )
    named += re.findall(r"\]\((docs/[\w.]+)\)", README)
    made_up = {
        "features/sets/x.py",
        "training/models/x.py",
        "training/tasks/x.py",
        "serving/x.py",
        "configs/x.yaml",
        "configs/data/x.yaml",
    }
    missing = [name for name in named if name not in made_up and not (ROOT / name).exists()]
    assert missing == []
    assert len(named) > 10


def test_no_address_in_the_lock() -> None:
    """The lock pins by hash and names no registry."""
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pins = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==", lock, re.MULTILINE)
    assert len(pins) > 100
    assert lock.count("--hash=sha256:") >= len(pins)


def test_importing_the_packages_touches_nothing(tmp_path: Path) -> None:
    """Imports write no file and load neither tracker nor estimator."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    code = (
        "import sys, features.door, features.__main__, training.__main__, serving.__main__;"
        "heavy = {'mlflow', 'xgboost', 'sklearn', 'bentoml', 'shap', 'optuna', 'pandas'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert list(folder.iterdir()) == []
