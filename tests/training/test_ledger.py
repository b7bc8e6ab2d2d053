"""Answers held against what happened: as the test said, once, and attached to the version."""

from pathlib import Path

import pandas as pd
import pytest

from features.errors import ConfigError
from features.settings import Workspace
from serving.report import report
from serving.score import score
from tests.training.finished import MARKS
from training import ledger, predictions
from training.record import Record
from training.tracker import client, review_folder
from training.versions import bundle_of

pytestmark = MARKS


@pytest.fixture
def test_cutoff(decided: Workspace) -> str:
    """The cutoff that the review pack of version 1 was judged at."""
    entry = next(e for e in Record(decided).entries("churn") if e.version == 1)
    return bundle_of(decided, entry).answer.cutoff


def test_a_matured_batch_reproduces_the_test(
    decided: Workspace, tmp_path: Path, test_cutoff: str
) -> None:
    """Everyone scored as of the test cutoff, judged by labels: value and interval to the bit."""
    score(decided, "churn", tmp_path / "then.csv", as_of=test_cutoff)
    (found,) = ledger.evaluate(decided, "churn")
    told = found.table.set_index("metric")
    pack = pd.read_csv(review_folder(decided, "churn", 1) / "metrics.csv")
    test = pack[pack["answer"] == "candidate"].set_index("metric")
    assert len(test) > 8
    for column in ("value", "ci_low", "ci_high"):
        pd.testing.assert_series_equal(
            told.loc[test.index, column], test[column], check_exact=False, rtol=1e-12
        )
    assert (told.loc[test.index, "test"] - test["value"]).abs().max() < 1e-12
    assert found.answered == test["n"].iloc[0]
    assert found.asked == found.answered
    assert found.alerts == []
    gap = told.loc["bias"]
    rate = test["rate"].iloc[0]
    assert gap["value"] == pytest.approx(test.loc["mean_probability", "value"] - rate)
    assert gap["ci_low"] < gap["value"] < gap["ci_high"]


def test_it_is_attached_to_its_version_once(
    decided: Workspace, tmp_path: Path, test_cutoff: str
) -> None:
    """One entry of the record, metrics of the run, tags of the version; not again."""
    score(decided, "churn", tmp_path / "then.csv", as_of=test_cutoff)
    (found,) = ledger.evaluate(decided, "churn")
    score(decided, "churn", tmp_path / "again.csv", as_of=test_cutoff)
    assert ledger.evaluate(decided, "churn") == []
    entry = Record(decided).entries("churn")[-1]
    assert (entry.event, entry.version, entry.actor) == ("matured", 1, "ledger")
    assert entry.evidence["cutoff"] == test_cutoff
    auc = found.table.set_index("metric").loc["roc_auc", "value"]
    assert entry.evidence["metrics"]["roc_auc"]["value"] == auc
    version = client(decided).get_model_version("churn", "1")
    assert version.tags["matured.batch"] == test_cutoff
    assert version.tags["matured.batch.roc_auc"] == f"{auc:.4f}"
    metrics = client(decided).get_run(version.run_id).data.metrics
    assert metrics["matured.batch.roc_auc"] == auc
    told = ledger.entries(decided, "churn")
    assert set(told["metric"]) == set(found.table["metric"])


def test_answers_whose_window_is_open_wait(decided: Workspace, tmp_path: Path) -> None:
    """At the data's end nothing of the window is known."""
    score(decided, "churn", tmp_path / "now.csv")
    assert ledger.evaluate(decided, "churn") == []
    assert ledger.entries(decided, "churn").empty


def test_answers_that_went_wrong_are_an_alert(
    decided: Workspace, tmp_path: Path, test_cutoff: str
) -> None:
    """Answers turned round rank worse than the test said; and they are off on average."""
    score(decided, "churn", tmp_path / "then.csv", as_of=test_cutoff)
    (path,) = predictions.folder(decided, "churn", 1).glob("*.parquet")
    told = pd.read_parquet(path)
    told["answer"] = 0.9 - 0.6 * told["answer"]
    told.to_parquet(path)
    (found,) = ledger.evaluate(decided, "churn")
    assert any(text.startswith("roc_auc is 0.") for text in found.alerts)
    assert any("from what happened on average" in text for text in found.alerts)
    assert found.evidence["alerts"] == found.alerts


def test_the_report_of_an_unshifted_batch_has_no_alert(
    decided: Workspace, tmp_path: Path, test_cutoff: str
) -> None:
    """Those it was tested on look like themselves; page and tables are there."""
    score(decided, "churn", tmp_path / "then.csv", as_of=test_cutoff)
    ledger.evaluate(decided, "churn")
    made = report(decided, "churn", out=tmp_path / "report")
    assert made.alerts == []
    assert made.drift["psi"].max() < 0.02
    assert "None: no column has shifted" in made.page.read_text()
    assert "roc_auc" in made.page.read_text()
    for name in ("volume", "drift", "ledger", "alerts"):
        pd.read_csv(tmp_path / "report" / f"{name}.csv")
    volume = pd.read_csv(tmp_path / "report" / "volume.csv")
    assert volume["rows"].sum() == len(pd.read_csv(tmp_path / "then.csv"))


def test_the_report_names_a_shifted_feature(
    decided: Workspace, tmp_path: Path, test_cutoff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recency a year longer: that column comes first, with the size of its shift."""
    write = predictions.write_batch

    def shifted(*told: object) -> None:
        *head, rows, answers = told
        longer = rows["rfm__recency_days"] + 365  # type: ignore[index]
        write(*head, rows.assign(rfm__recency_days=longer), answers)  # type: ignore[arg-type, attr-defined]

    monkeypatch.setattr(predictions, "write_batch", shifted)
    score(decided, "churn", tmp_path / "then.csv", as_of=test_cutoff)
    made = report(decided, "churn", out=tmp_path / "report")
    assert made.drift["column"].iloc[0] == "rfm__recency_days"
    assert len(made.alerts) == 1
    assert made.alerts[0].startswith("rfm__recency_days has shifted (index ")
    assert "now 100%" in made.alerts[0]


def test_a_log_without_the_model_is_told(decided: Workspace) -> None:
    """Nothing logged, or not that version."""
    with pytest.raises(ConfigError, match="nothing of 'churn'"):
        report(decided, "churn")


def test_request_answers_are_judged_apart(
    decided: Workspace, tmp_path: Path, test_cutoff: str
) -> None:
    """Who asks by id need not be like everyone; asked twice, the last answer counts."""
    score(decided, "churn", tmp_path / "then.csv", as_of=test_cutoff)
    into = predictions.folder(decided, "churn", 1)
    (path,) = into.glob("*.parquet")
    told = pd.read_parquet(path).head(60).assign(origin="request", request_id="r")
    early = told.assign(time=told["time"] - pd.Timedelta(days=1), answer=0.5)
    told.to_parquet(into / "b.parquet")
    early.to_parquet(into / "a.parquet")
    batch, request = ledger.evaluate(decided, "churn")
    assert (batch.origin, request.origin, request.answered) == ("batch", "request", 60)
    assert request.asked == batch.asked
    assert request.table.set_index("metric").loc["mean_probability", "value"] == pytest.approx(
        told["answer"].mean()
    )
