"""What a reviewer is told of values beside plan and churn."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.settings import Workspace
from features.store import MANIFEST
from training.keys import add_reviewer
from training.record import Record
from training.rows import Rows
from training.supervised.value_coherence import Churn, approved_churn
from training.supervised.value_report import _cohorts

TEST = datetime(2024, 6, 1)


def place(folder: Path) -> Workspace:
    """Empty folders."""
    return Workspace(
        store=folder / "store", registry=folder / "registry", keys=folder / "keys", data=None,
        configs=folder,
    )  # fmt: skip


def run_of(where: Workspace, key: str, digest: str, cutoff: datetime) -> None:
    """What a churn run leaves in the store, as far as value looks at it."""
    folder = where.store / "runs" / "churn" / key
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(json.dumps({"facts": {"digest": digest}}))
    told = pd.DataFrame({
        "customer_id": [7, 8], "cutoff": np.array([cutoff] * 2, "datetime64[us]"),
        "candidate": [0.2, 0.9], "candidate.threshold": [0.4, 0.4],
    })  # fmt: skip
    told.to_parquet(folder / "test.parquet")


def test_churn_is_that_of_the_approved_version_at_the_same_cutoff(tmp_path: Path) -> None:
    """Else it is said why there is none: not approved, not in the store, another cutoff."""
    where = place(tmp_path)
    record = Record(where)
    assert "no version of 'churn' is approved" in str(approved_churn(where, "churn", TEST))
    record.append("registered", "churn", 1, "aaa", "Ann", "new")
    assert "no version of 'churn' is approved" in str(approved_churn(where, "churn", TEST))
    add_reviewer(where.keys, "Ann")
    record.append("approved", "churn", 1, "aaa", "Ann", "good")
    run_of(where, "other", "bbb", TEST)
    assert "no longer in the store" in str(approved_churn(where, "churn", TEST))
    run_of(where, "own", "aaa", TEST)
    found = approved_churn(where, "churn", TEST)
    assert isinstance(found, Churn)
    assert (found.version, found.threshold) == (1, 0.4)
    assert found.probability.to_dict() == {7: 0.2, 8: 0.9}
    assert "another cutoff" in str(approved_churn(where, "churn", datetime(2024, 5, 1)))


def test_totals_by_cohort_stand_beside_the_plan() -> None:
    """Errors by hand; the interval holds the error and narrows with customers."""
    rng = np.random.default_rng(0)
    n = 4_000
    T = np.where(np.arange(n) < n // 4, 40.0, 130.0)  # first orders of 2024Q2 and 2024Q1
    y = rng.gamma(1.0, 50.0, n)
    predicted = np.full(n, 55.0)
    rows = Rows(
        pd.DataFrame({"rfm__T_days": T}), y, np.arange(n), np.full(n, TEST, "datetime64[us]")
    )
    found = _cohorts(rows, predicted, TEST, {"2024Q1": 150_000.0}).set_index("cohort")
    assert found["n"].to_dict() == {"2024Q1": 3_000, "2024Q2": 1_000, "all": 4_000}
    for cohort, own in (("2024Q1", T > 100), ("2024Q2", T < 100), ("all", T > 0)):
        line = found.loc[cohort]
        assert line["error"] == pytest.approx(55.0 * own.sum() / y[own].sum() - 1.0)
        assert line["error_low"] < line["error"] < line["error_high"]
    width = found["error_high"] - found["error_low"]
    assert width["2024Q2"] > 1.4 * width["2024Q1"] > width["all"]
    planned = 150_000.0 / y[T > 100].sum() - 1.0
    assert found.loc["2024Q1", "planned_error"] == pytest.approx(planned)
    assert np.isnan(found.loc["2024Q2", "planned_error"])
