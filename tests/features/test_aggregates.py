"""Counts and means for export: small groups are told nobody, noise is as published, budgets end."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from features.__main__ import app
from features.aggregates import Question, charge, exact, private
from features.errors import ConfigError, DataError
from features.settings import Workspace
from features.sources import Source, load_source

GROUPS = {"large": 200, "enough": 20, "small": 19}
SMALL = ["source.simulate.customers=100", "source.simulate.tables=[order_lines]"]


def people(groups: dict[str, int]) -> pa.Table:
    """Customers by group; the k-th of a group spent k, and one more has no value."""
    words = [word for word, n in groups.items() for _ in range(n)]
    spent = [float(k) for n in groups.values() for k in range(n)]
    return pa.table({"g": [*words, "large"], "x": [*spent, None]})


def source(place: Workspace, budget: float | None) -> Source:
    """The simulated retailer with a budget."""
    return load_source(place, "simulated", {"privacy_budget": budget})


def test_small_groups_are_not_told() -> None:
    """Groups of 20 and more by hand, and nobody of 19; one without a value is in no mean."""
    means = {"large": 99.5, "enough": 9.5}
    expected = [{"group": g, "customers": GROUPS[g], "mean": means[g]} for g in sorted(means)]
    assert exact(people(GROUPS), Question("x", "g")) == expected
    assert exact(people(GROUPS), Question()) == [{"group": "everyone", "customers": 240}]
    with pytest.raises(ConfigError, match=r"g: expected a column of doubles.*\n.*x: .* strings"):
        exact(people(GROUPS), Question("g", "x"))


def test_what_a_private_release_needs() -> None:
    """All that is missing is told at once, and nothing is paid."""
    with pytest.raises(ConfigError, match=r"epsilon nan.*\n.*name the groups.*\n.*the bounds"):
        private(people(GROUPS), Question("x", "g"), math.nan, pytest.fail)
    with pytest.raises(ConfigError, match="each group is told once"):
        private(people(GROUPS), Question("", "g"), 1.0, pytest.fail, ["large", "small", "large"])


def test_noise_is_as_published() -> None:
    """Counts are off by discrete Laplace noise, sums by noise of the scale that bounds ask for.

    Ghosh, A. et al. 2012, Universally utility-maximizing privacy mechanisms, definition 2.1.
    """
    pytest.importorskip("opendp", reason="OpenDP of the extra `privacy` is not installed")
    names, epsilon = [f"g{k}" for k in range(300)], 0.5
    table = people(dict.fromkeys(names, 60))
    rows = private(table, Question("", "g"), epsilon, lambda: None, names)
    noise = np.array([row["customers"] for row in rows]) - 60
    p = math.exp(-epsilon)
    zeros, variance = (1 - p) / (1 + p), 2 * p / (1 - p) ** 2
    assert len(noise) == 300
    assert abs((noise == 0).mean() - zeros) < 6 * math.sqrt(zeros * (1 - zeros) / 300)
    assert abs(noise.mean()) < 6 * math.sqrt(variance / 300)
    assert abs(noise.var() / variance - 1) < 6 * math.sqrt(5 / 300)  # its kurtosis is about 6
    rows = private(table, Question("x", "g"), 1.0, lambda: None, names[:100], (0.0, 50.0))
    sums = np.array([row["mean"] * row["customers"] for row in rows])
    off = sums[(sums > 0) & (sums < 2000)] - sum(min(k, 50) for k in range(60))
    assert abs(np.median(np.abs(off)) / (50 / 0.5 * math.log(2)) - 1) < 0.6  # Laplace's median


def test_a_group_is_told_whether_it_has_customers_or_not() -> None:
    """Named groups are asked for; what they hold decides nothing but the noisy count."""
    pytest.importorskip("opendp", reason="OpenDP of the extra `privacy` is not installed")
    rows = private(people(GROUPS), Question("", "g"), 5.0, lambda: None, ["large", "nobody"])
    assert [row["group"] for row in rows] == ["large"]
    assert abs(rows[0]["customers"] - 201) < 10


def test_ledger(place: Workspace) -> None:
    """Epsilons add up in a file that only grows; past the budget nothing is written."""
    with pytest.raises(ConfigError, match="declares no privacy_budget"):
        charge(place, source(place, None), 0.1, "x")
    declared, path = source(place, 1.0), place.registry / "privacy" / "simulated.jsonl"
    left = [charge(place, declared, 0.3, "x") for _ in range(3)]
    assert left == pytest.approx([0.7, 0.4, 0.1])
    before = path.read_bytes()
    with pytest.raises(DataError, match="0.9 of its privacy_budget 1 is spent, 0.2 more is asked"):
        charge(place, declared, 0.2, "x")
    assert path.read_bytes() == before
    assert charge(place, declared, 0.1, "y") == pytest.approx(0.0, abs=1e-9)
    assert [json.loads(line)["released"] for line in path.read_text().splitlines()] == [
        "x",
        "x",
        "x",
        "y",
    ]


def test_command(tmp_path: Path) -> None:
    """The door writes the groups, and pays only for what it can tell."""
    out, config = tmp_path / "a.csv", tmp_path / "p.yaml"
    config.write_text(json.dumps({
        "data": "simulated", "features": [{"use": "rfm.Rfm"}],
        "cutoffs": {"test": "end-30d", "latest": "end-60d", "count": 2},
    }))  # fmt: skip
    asked = ["aggregates", str(config), "--out", str(out), "--column", "rfm__monetary_value"]

    def answer(*more: str) -> Any:
        settings = [word for setting in SMALL for word in ("--set", setting)]
        return CliRunner().invoke(app, [*asked, *settings, *more])

    assert answer().exit_code == 0
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert (row["group"], int(row["customers"]) > 50) == ("everyone", True)
    refused = answer("--epsilon", "1", "--set", "source.privacy_budget=9", "--between", "0", "500")
    assert refused.exit_code == 2
    assert "no pipeline and no --set changes it" in refused.output
    pytest.importorskip("opendp", reason="OpenDP of the extra `privacy` is not installed")
    exactly = float(row["mean"])
    assert answer("--epsilon", "2.9", "--between", "0", "500").exit_code == 0
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert float(row["mean"]) != exactly
    before = out.read_bytes()
    spent = answer("--epsilon", "0.2", "--between", "0", "500")
    assert spent.exit_code == 2
    assert "2.9 of its privacy_budget 3 is spent" in spent.output
    assert out.read_bytes() == before
