"""The example notebooks run from their first cell to their last, and say what they promise."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from tests.training.finished import drawn, settled
from tests.worlds import ROOT
from training import review
from training.experiments import Comparison, Version
from training.supervised.bundle import Bundle

NOTEBOOKS = ROOT / "docs" / "notebooks"


def executed(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Run the code cells in order; the names they leave, and what each cell's last line gives."""
    names: dict[str, Any] = {}
    shown = []
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells):
        *lines, last = "".join(cell["source"]).split("\n")
        where = f"{path.name} cell {number}"
        try:
            value = compile(last, where, "eval")
        except SyntaxError:
            exec(compile("\n".join([*lines, last]), where, "exec"), names)
            continue
        exec(compile("\n".join(lines), where, "exec"), names)
        shown.append(eval(value, names))
    return names, shown


@pytest.mark.filterwarnings("ignore")
def test_the_notebooks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two versions are made and compared; the approved one answers with reasons."""
    mpl.use("agg")
    # The pack's plots are looked at elsewhere.
    monkeypatch.setattr(Figure, "savefig", drawn)
    monkeypatch.chdir(ROOT)
    place = settled(tmp_path, monkeypatch)
    names, shown = executed(NOTEBOOKS / "experiments.ipynb")
    first, comparison = names["first"], names["both"]
    assert isinstance(first, Version)
    assert isinstance(comparison, Comparison)
    assert first in shown
    assert [type(value) for value in shown].count(Figure) == 1
    assert any("config.features" in name for name in comparison.settings["setting"])
    assert "Purpose:" in capsys.readouterr().out

    review.approve(place, "churn", first.number, "Ada", "a test", override="few customers")
    names, _ = executed(NOTEBOOKS / "answers.ipynb")
    assert isinstance(names["churn"], Bundle)
    said = capsys.readouterr().out.strip().splitlines()
    assert len(said) == 6
    assert names["after"] < names["before"]


def test_notebooks_are_kept_without_outputs() -> None:
    """What a run showed belongs to the run."""
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert code
        assert all(not c["outputs"] and c["execution_count"] is None for c in code), path.name
