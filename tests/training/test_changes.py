"""What changed and how answers age: models taught earlier, drift, signature, cost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sklearn.metrics import roc_auc_score

from features.errors import ConfigError
from features.settings import Part, resolve
from tests.training.samples import bundle, splits
from training import bundle as bundles
from training import plots
from training.card import changed
from training.contract import Model, matrix
from training.evaluate import worst_slice
from training.gates import Gate, check_gates, gate_results
from training.supervised import changes, stale, tuned
from training.supervised.bundle import Bundle, write
from training.tune import fitted

PART = Part(use="logistic.Logistic")


def test_an_aged_model_learns_from_what_was_known_then() -> None:
    """Each age is a fit on the rows whose labels were known so long before; too old has none."""
    made = splits()
    now = fitted(PART, made.shipped.last, seed=1)
    steps: list[None] = []
    found = stale.aged(made, PART, now, (1, 2, 8), 1, lambda: steps.append(None))
    assert list(found) == ["0", "1", "2"]
    assert len(steps) == 3
    X = made.test.X
    for age in (1, 2):
        known = made.taught_by(made.moments.test - age * stale.MONTH)
        assert 0 < len(known) < len(made.shipped.last.taught)
        model: Model = resolve(bundles.MODELS, PART)
        model.fit(known.X, known.y, weight=None, seed=1)
        expected = 1 / (1 + np.exp(-model.score(matrix(X, model.columns))))
        assert np.allclose(found[str(age)], expected, atol=1e-12)


def test_losses_are_paired_and_say_when_to_train_anew() -> None:
    """An older model that is worse by noise on every row: its loss has an interval above 0."""
    made = splits(n=400)
    rows, rng = made.test, np.random.default_rng(0)
    now = np.clip(0.2 + 0.6 * rows.y + rng.normal(0, 0.2, len(rows)), 0.01, 0.99)
    same = now.copy()
    worse = np.clip(now + rng.normal(0, 0.5, len(rows)), 0.01, 0.99)
    answers = {"0": now, "1": same, "4": worse}
    table = stale.curve(rows, answers, "roc_auc", "event", 100, 0)
    line = table.set_index(["months", "metric"])
    assert line.loc[(4, "roc_auc"), "value"] == pytest.approx(roc_auc_score(rows.y, worse))
    expected = roc_auc_score(rows.y, now) - roc_auc_score(rows.y, worse)
    assert line.loc[(4, "roc_auc"), "lost"] == pytest.approx(expected)
    assert line.loc[(4, "log_loss"), "lost"] > 0  # lower is better, and lost is above 0 for worse
    assert (line.loc[(1, "roc_auc"), ["lost", "lost_low", "lost_high"]] == 0).all()
    assert stale.retrain_after(table, "roc_auc") == 4
    assert stale.retrain_after(table[table["months"] < 4], "roc_auc") is None
    assert "train anew before" in stale.section(table, "roc_auc", "2026-01-01").text[1]


def test_the_card_says_whether_the_search_helped(tmp_path: Path) -> None:
    """By a paired interval: better, not shown to be better, worse; nothing without a search."""
    rows = splits(n=400).test
    good, noise = 0.2 + 0.6 * rows.y, np.random.default_rng(0).random(len(rows))
    near = np.clip(0.5 + 0.001 * (noise - 0.5), 0.0, 1.0)

    def said(now: np.ndarray, then: np.ndarray) -> str:
        tuned.write(tmp_path, then)
        return tuned.sentence(tmp_path, rows, now, "roc_auc", "event", 100, 0)

    assert tuned.sentence(tmp_path, rows, good, "roc_auc", "event", 100, 0) == ""
    assert said(good, near).endswith("the search helped.")
    assert said(near, good).endswith("the search did harm.")
    assert "better by +0.0000 [+0.0000, +0.0000]" in said(good, good)
    assert said(good, good).endswith("is not shown to have helped.")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle as it is loaded, with golden rows."""
    answer, X = bundle("logistic.Logistic")
    folder, key = tmp_path_factory.mktemp("made") / "bundle", Ed25519PrivateKey.generate()
    write(answer, np.tile(X, (10, 1)), folder, key)
    loaded = bundles.load(folder, key.public_key())
    assert isinstance(loaded, Bundle)
    return loaded


def test_drift_is_found_where_it_is(made: Bundle, tmp_path: Path) -> None:
    """The same rows depart by nothing; a moved column leads the table, and the score follows."""
    assert made.golden is not None
    frame = pd.DataFrame(made.golden.X, columns=list(made.columns))
    rows = splits(n=10).test
    changes.write_latest(tmp_path, replace(rows, X=frame))
    still = changes.drift(made, tmp_path, made, frame)
    assert set(still["since"]) == {"latest lesson", "champion, 2024-06-01"}
    assert still["psi"].abs().max() == 0.0
    moved = frame.assign(rfm__recency_days=frame["rfm__recency_days"] * 3)
    changes.write_latest(tmp_path, replace(rows, X=moved))
    table = changes.drift(made, tmp_path, None, frame)
    assert set(table.loc[table["alert"], "column"]) == {"rfm__recency_days", "score"}
    assert "2 departed" in changes.drift_section(table)[0].text[0]


def test_a_caller_is_told_what_changed(made: Bundle) -> None:
    """Columns that came or went, settings that differ; and nothing where nothing does."""
    assert changes.signature(made, made).empty
    assert changes.signature(made, None).empty
    then = {"columns": made.answer.columns[1:], "cutoff": "2024-03-01", "output": "leaving"}
    fewer = made.answer.model_copy(update=then)
    table = changes.signature(made, replace(made, answer=fewer))
    found = {(line.side, line.name): (line.champion, line.now) for line in table.itertuples(False)}
    assert found == {
        ("input", made.columns[0]): ("not there", "double"),
        ("output", "leaving"): ("double", "not there"),
        ("output", "churn_probability"): ("not there", "double"),
        ("learned", "test cutoff"): ("2024-03-01", "2024-06-01"),
    }
    beside = {"averaged_with": (Part(use="logistic.Logistic", config={"C": 2.0}),)}
    averaged = made.answer.model_copy(update={"model": made.answer.model.model_copy(update=beside)})
    table = changes.signature(made, replace(made, answer=averaged))
    assert dict(zip(table["name"], table["champion"], strict=True)) == {
        "own_share": "0.5", "averaged_with.logistic.Logistic": "{'C': 2.0}",
    }  # fmt: skip


def test_data_changes_are_counted_beside_the_champions() -> None:
    """By table and disposition, customers and span; a table that came has none before."""
    accepted = {"quarantined": 1, "duplicate": 0, "filtered": 2}
    lines = {"seen": 1_003, "totals": {"accepted": 1_000, **accepted}}
    then = {
        "content": "a", "customers": 50, "first": "2024-01-01 08:00:00",
        "last": "2024-06-01 09:00:00", "tables": {"order_lines": lines},
    }  # fmt: skip
    more = {"seen": 1_203, "totals": {"accepted": 1_200, **accepted}}
    events = {"seen": 9, "totals": {"accepted": 9, "quarantined": 0, "duplicate": 0, "filtered": 0}}
    now = then | {
        "customers": 48, "last": "2024-07-01 07:00:00",
        "tables": {"order_lines": more, "events": events},
    }  # fmt: skip
    found = {line[:2]: line[2:] for line in changed(then, now).itertuples(index=False, name=None)}
    assert found["order_lines", "accepted"] == ("1,000", "1,200", "+200")
    assert found["order_lines", "filtered"] == ("2", "2", "same")
    assert found["events", "seen"] == ("0", "9", "+9")
    assert found["all", "customers"] == ("50", "48", "-2")
    assert found["all", "first row"] == ("2024-01-01", "2024-01-01", "same")
    assert found["all", "last row"] == ("2024-06-01", "2024-07-01", "+30 days")
    back = changed(now, then)
    assert back.loc[back["table"] == "events", "change"].tolist() == ["-9", "-9", *["same"] * 3]


def test_cost_and_the_worst_slice_can_be_gates(made: Bundle, tmp_path: Path) -> None:
    """Bounds by min and max alone; a slice that could not be judged fails its gate."""
    (folder := tmp_path / "bundle").mkdir()
    (folder / "x").write_bytes(b"0" * 2_000_000)
    costs = changes.cost(made, folder)
    assert costs["bundle_mb"] == 2.0
    assert min(costs["one_row_ms"], costs["golden_rows_ms"]) > 0
    by_slice = pd.DataFrame({
        "slice": ["everyone", "a", "b", "c"], "note": ["judged", "judged", "judged", "not judged"],
        "roc_auc": [0.5, 0.8, 0.7, np.nan],
    })  # fmt: skip
    assert worst_slice(by_slice, "event") == 0.7
    nothing = worst_slice(by_slice[:1], "event")
    gates = {"bundle_mb": Gate(max=1.0), "worst_slice": Gate(min=0.6)}
    for worst, passed in ((0.7, True), (nothing, False)):
        size, least = gate_results(
            gates, None, "", "", {}, costs | {"worst_slice": worst}  # type: ignore[arg-type]
        )  # fmt: skip
        assert (size["passed"], least["passed"]) == (False, passed)
    with pytest.raises(ConfigError, match="no better or worse, or no interval"):
        check_gates({"bundle_mb": Gate(beats_baseline=True)}, ["bundle_mb"])


def test_a_value_outside_the_interval_of_few_draws_is_drawn() -> None:
    """It has no whisker on that side; drawing does not fail."""
    assert plots.whiskers(0.9, 0.5, 0.8).tolist() == [[pytest.approx(0.4)], [0.0]]
    table = pd.DataFrame({
        "months": [0, 1], "metric": "roc_auc", "value": [0.9, 0.4], "ci_low": [0.5, 0.5],
        "ci_high": [0.8, 0.8], "lost": 0.0, "lost_low": 0.0, "lost_high": 0.0,
    })  # fmt: skip
    (drawn,) = stale.section(table, "roc_auc", "2026-01-01").figures
    assert drawn == "staleness"
