"""What the documents say holds: examples run, commands exist, figures name their script."""

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import pytest

from features import columns as c
from features.compute import FeatureSet
from features.schema import FeatureColumn
from features.settings import Strict
from features.views import View
from tests.channel_worlds import row, world_of
from tests.contracts import feature_sets as contract
from tests.worlds import ROOT, computed, line, world

README = (ROOT / "README.md").read_text()
ADDING = (ROOT / "docs" / "adding.md").read_text()


def example(name: str) -> FeatureSet:
    """A feature set that docs/adding.md shows."""
    names: dict[str, Any] = {
        "Strict": Strict, "FeatureColumn": FeatureColumn, "View": View, "ir": ir, "c": c,
    }  # fmt: skip
    for code in re.findall(r"```python\n(.*?)```", ADDING, re.DOTALL):
        exec(compile(code, "docs/adding.md", "exec"), names)
    made: FeatureSet = names[name](names["WeekdaysConfig"]())
    return made


def test_the_example_feature_set_works() -> None:
    """The set that docs/adding.md shows counts weekdays as it says."""
    rows = [line(1, f"2010-12-0{day}", f"S{day}") for day in (1, 2, 8)]  # two Wednesdays
    found = computed([example("Weekdays")], world(rows), [datetime(2011, 1, 1)])
    assert found["weekdays__used_days"].to_pylist() == [2.0]


def test_the_example_over_a_channel_works() -> None:
    """Minutes of the window and of the channels it names, zero where there are none."""
    seen = [("2010-12-31", "web", 90), ("2010-12-01", "app", 30), ("2010-12-02", "store", 600),
            ("2010-01-01", "web", 600)]  # fmt: skip
    rows = [row("events", 1, t, channel=channel, duration_s=s) for t, channel, s in seen]
    rows.append(row("events", 2, "2010-12-01", channel="store"))
    found = computed([example("Minutes")], world_of(events=rows), [datetime(2011, 1, 1)])
    assert found["minutes__online_minutes_90d"].to_pylist() == [2.0, 0.0]


@pytest.mark.parametrize("name", ["Weekdays", "Minutes"])
def test_the_examples_leak_nothing(name: str) -> None:
    """They pass the kit that the document tells of."""
    for check in ("values_in_range", "later_rows", "late_news", "other_customers"):
        assert contract.problem(check, example(name)) == "", check


def commands() -> list[str]:
    """Every command of a door that the documents show."""
    return sorted(set(re.findall(r"python -m (\w+ \w+)", README + ADDING)))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_documents_exist(command: str) -> None:
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
        "training/details/x.py",
        "training/recommend/makers/x.py",
        "training/segments/ways/x.py",
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
