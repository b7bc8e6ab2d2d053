"""Plots: written with the table behind them, and kept by nobody."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from training import explanation_plots, plots
from training.contract import Explanation

ROWS = pd.DataFrame({"x": [0.0, 1.0], "y": [2.0, 3.0], "answer": "candidate"})


def test_a_plot_stands_beside_its_table(tmp_path: Path) -> None:
    """Under one name, the table as it was drawn."""
    figure, axes = plots.axes_of("title", "x", "y")
    plots.lines_of(axes, ROWS, "x", "y")
    plots.save(tmp_path / "new", "lines", ROWS, figure)
    assert (tmp_path / "new" / "lines.png").read_bytes().startswith(b"\x89PNG")
    assert pd.read_csv(tmp_path / "new" / "lines.csv").equals(ROWS)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:shap.*")
def test_no_figure_outlives_its_run() -> None:
    """A sweep draws hundreds that nobody saves; one that pyplot knew would be kept for good."""
    rng = np.random.default_rng(1)
    explained = Explanation(
        np.zeros(20), rng.normal(size=(20, 2)), rng.normal(size=(20, 2)), ("a", "b"), "log odds"
    )
    before = plt.get_fignums()
    plots.axes_of("title", "x", "y")
    explanation_plots.beeswarm(explained, ["a", "b"])
    importance = explanation_plots.importance_table(explained)
    table = explanation_plots.dependence_table(explained, importance, ())
    explanation_plots.dependence(table, "log odds")
    assert plt.get_fignums() == before
