"""docs/sources.md works as it stands: its commands run in order, its YAML loads."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from features.__main__ import app as features_app
from features.canonical import CANONICAL
from features.checks import TESTS, Check, misfits
from features.databases import Database
from features.objects import unreadable
from tests.worlds import ROOT
from training.__main__ import app as training_app

PAGE = (ROOT / "docs" / "sources.md").read_text()


def blocks(language: str) -> list[str]:
    """Code blocks of the page."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for named, text in found if named == language]


def run(command: str, folder: Path) -> str:
    """What a command of the page says in ``folder``, in a process of its own; it ends well."""
    words = shlex.split(command)
    assert words[0] == "python"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PERENNIAL_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, *words[1:]], cwd=folder, env=env, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert found.returncode == 0, (command, found.stderr[-3000:])
    return found.stdout


def said_here(command: str) -> str:
    """The same without the start of a process."""
    door, name, *words = shlex.split(command)[2:]
    assert door in ("features", "training")
    found = CliRunner().invoke(features_app if door == "features" else training_app, [name, *words])
    assert found.exit_code == 0, (command, found.output[-3000:])
    return found.stdout


def follows_the_page(said: list[str], folder: Path) -> None:
    """Whether the commands said what the page tells of."""
    _, written, quality, aside, replayed, _ = said
    assert "order_lines: order_lines.csv.gz\ncustomers: customers.csv.gz\n" in written
    draft = (folder / "configs" / "data" / "shop.yaml").read_text()
    assert "# ? " in draft
    assert "email: personal (contact)" in draft
    assert "quarantined" in quality
    assert re.search(r"order_lines +order_lines.csv.gz +\d+ +quantity: no integer", aside)
    assert "in quarantine" in replayed


@pytest.mark.usefixtures("reader_here")
def test_commands_lead_from_a_file_to_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of the page, as it is written, up to what the training would do."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    *commands, train = blocks("")[:6]
    said = [said_here(command) for command in commands]
    said.append(said_here(f"{train} --dry-run"))
    follows_the_page(said, tmp_path)
    told, erased = (said_here(command) for command in blocks("")[6].splitlines())
    assert "raw/customers.csv.gz: 1 records" in told
    assert "verified: no file of the store names the customer" in erased
    assert "--purpose marketing" in blocks("")[7], "which needs a ledger: see test_consent"


@pytest.mark.e2e
@pytest.mark.slow
def test_commands_lead_from_a_file_to_a_model(tmp_path: Path) -> None:
    """The same in processes of their own, with the training."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    said = [run(command, tmp_path) for command in blocks("")[:6]]
    follows_the_page(said, tmp_path)
    assert "churn version 1 is registered" in said[-1]


def test_yaml_of_the_page_is_valid() -> None:
    """The database and the checks are what the settings know; every test is told of."""
    stored, declared, checked = (yaml.safe_load(block) for block in blocks("yaml")[:3])
    assert [unreadable(url) for url in stored["order_lines"]["files"]] == [[]]
    Database.model_validate(declared["order_lines"]["database"])
    checks = checked["checks"]
    found = {name: Check.model_validate(check) for name, check in checks.items()}
    for check in found.values():
        assert misfits(check, CANONICAL["order_lines"], CANONICAL) == []
    told = {check.test for check in found.values()} | set(re.findall(r"`(\w+)`", PAGE))
    assert set(TESTS) <= told
