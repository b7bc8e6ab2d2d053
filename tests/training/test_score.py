"""Answers for everyone: the same as asked one by one, under the source's ids, whole or absent."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import columns as c
from features.cutoffs import Moments
from features.errors import ConfigError, DataError, NotApproved
from features.settings import Workspace
from features.snapshot import build_features, read_features
from features.tables import build_tables
from serving import score as module
from serving.audience import write_audience
from serving.score import score
from tests.training.finished import MARKS
from training import versions
from training.pipeline import load_plan
from training.suggestions import NONE, Suggestion
from training.supervised.bundle import Bundle
from training.tracker import review_folder

pytestmark = MARKS


def test_everyone_asked_is_answered_as_in_python(decided: Workspace, tmp_path: Path) -> None:
    """Each line is the bundle's answer to that customer's features as of the end of the data."""
    done = score(decided, "churn", tmp_path / "churn.csv", reasons=2)
    lines = pd.read_csv(tmp_path / "churn.csv", dtype={"source_id": str}).set_index("source_id")
    assert (done.customers, done.version, done.withheld) == (len(lines), 1, 0)
    plan = load_plan(decided, review_folder(decided, "churn", 1) / "config.resolved.yaml")
    stored = build_tables(decided, plan.source)
    features = build_features(decided, stored, plan.config, Moments((), stored.end))
    frame = read_features(features.folder, [stored.end]).to_pandas()
    frame = frame[frame["rfm__recency_days"] <= 365]  # who is asked, by another way
    frame.index = pd.Index(frame[c.CUSTOMER].map(stored.source_ids()))
    assert set(lines.index) == set(frame.index)
    bundle = versions.bundle_at(decided, versions.approved(decided, "churn").folder)
    assert isinstance(bundle, Bundle)
    expected = bundle.predict_frame(frame[list(bundle.columns)]).loc[lines.index]
    assert np.abs(lines["churn_probability"] - expected["churn_probability"]).max() < 1e-12
    assert lines["churn_probability"].is_monotonic_decreasing
    assert lines["reasons"].str.contains("the score").all()
    assert set(lines["as_of"]) == {f"{stored.end:%Y-%m-%d}"}


def test_an_interrupted_call_goes_on_and_ends_the_same(
    decided: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed in the third of its shards, the next call makes only what is missing."""
    monkeypatch.setattr(module, "CUSTOMERS_A_SHARD", 60)
    whole = tmp_path / "whole.parquet"
    score(decided, "churn", whole, as_of="2025-06-01")
    answered: list[int] = []
    predict = Bundle.predict_frame

    def counted(self: Bundle, X: pd.DataFrame) -> pd.DataFrame:
        if len(answered) == 2:
            raise KeyboardInterrupt
        answered.append(len(X))
        return predict(self, X)

    out = tmp_path / "again.parquet"
    for folder in (decided.store / "answers" / "churn").iterdir():
        if folder.is_dir():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    with monkeypatch.context() as dying:
        dying.setattr(Bundle, "predict_frame", counted)
        with pytest.raises(KeyboardInterrupt):
            score(decided, "churn", out, as_of="2025-06-01")
    assert not out.exists()
    assert answered == [60, 60]
    later: list[int] = []

    def recorded(self: Bundle, X: pd.DataFrame) -> pd.DataFrame:
        later.append(len(X))
        return predict(self, X)

    monkeypatch.setattr(Bundle, "predict_frame", recorded)
    done = score(decided, "churn", out, as_of="2025-06-01")
    assert sum(later) == done.customers - 120
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole))


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"number": 2}, NotApproved, "has not been reviewed"),
        ({"out": "x.json"}, ConfigError, "end with .csv or .parquet"),
        ({"as_of": "1999-01-01"}, ConfigError, "expected a date"),
        ({"purpose": "marketing"}, DataError, "brings no table 'consents'"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    asked: dict[str, Any],
    error: type[Exception],
    said: str,
    decided: Workspace,
    tmp_path: Path,
) -> None:
    """One clear error, and no file."""
    out = tmp_path / asked.pop("out", "x.csv")
    with pytest.raises(error, match=said):
        score(decided, "churn", out, **asked)
    assert not out.exists()


def test_an_audience_is_those_who_consent_and_never_a_few(
    decided: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others are counted; fewer than twenty are not written."""
    kept = 30
    answered = score(decided, "churn", tmp_path / "all.parquet")
    plan = load_plan(decided, review_folder(decided, "churn", 1) / "config.resolved.yaml")
    numbers = {ref: n for n, ref in build_tables(decided, plan.source).source_ids().items()}
    everyone = sorted(numbers[ref] for ref in pd.read_parquet(answered.path)["source_id"])
    monkeypatch.setattr(module, "consenting", lambda *_: set(everyone[:kept]))
    done = score(decided, "churn", tmp_path / "a.csv", purpose="marketing")
    assert done.customers == 30
    assert done.withheld > 0
    kept = 90
    score(decided, "churn", tmp_path / "c.csv", purpose="marketing", reasons=1)
    told = pd.read_csv(tmp_path / "c.csv")
    words = [name for name in told.select_dtypes(exclude="number") if name != "source_id"]
    assert "reason" in words
    assert all(told[name].value_counts(dropna=False).min() >= 20 for name in words)
    kept = 19
    with pytest.raises(DataError, match=r"19 of \d+ customers consent to 'marketing'"):
        score(decided, "churn", tmp_path / "b.csv", purpose="marketing")
    assert not (tmp_path / "b.csv").exists()


def test_an_audience_suggests_what_the_question_says(
    decided: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first action that fits, for reasons that were not asked for too, and none too rare."""
    declared = (
        Suggestion(do="call", when={"reason": "purchases"}),
        Suggestion(do="wait", when={"reason": "timing"}),
    )
    scoring = module.scoring

    def decided_so(*asked: Any) -> module.Scoring:
        version = scoring(*asked)
        config = version.plan.config.model_copy(update={"suggest": declared})
        return replace(version, plan=replace(version.plan, config=config))

    monkeypatch.setattr(module, "scoring", decided_so)
    plan = load_plan(decided, review_folder(decided, "churn", 1) / "config.resolved.yaml")
    everyone = partial(module._asked, plan=plan)
    monkeypatch.setattr(module, "consenting", lambda tables, now, *_: everyone(tables, moment=now))
    score(decided, "churn", tmp_path / "a.csv", purpose="marketing")
    told = pd.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert set(told["action"]) == {"call", NONE}
    assert ((told["action"] == "call") == (told["reason"] == "purchases")).all()
    assert told["action"].value_counts().min() >= 20


def test_other_lines_or_another_moment_are_answered_anew(
    decided: Workspace, tmp_path: Path
) -> None:
    """Two moments share no shard, also where their customers and bundle are the same."""
    for moment in ("2025-05-01", "2025-06-01"):
        score(decided, "churn", tmp_path / f"{moment}.parquet", as_of=moment)
    first, second = (pd.read_parquet(path) for path in sorted(tmp_path.glob("*.parquet")))
    both = first.merge(second, on="source_id")
    assert (both["churn_probability_x"] != both["churn_probability_y"]).any()


def test_only_lists_have_audiences(decided: Workspace, tmp_path: Path) -> None:
    """A question about customers knows no items."""
    with pytest.raises(ConfigError, match="it knows no items"):
        write_audience(decided, "churn", "P001", tmp_path / "a.csv", size=50)
    assert not (tmp_path / "a.csv").exists()
