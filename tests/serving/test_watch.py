"""What services answer is counted and logged beside the request: never in its way."""

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.stats import chi2

import serving
from features.errors import ConfigError
from features.settings import Workspace
from serving import base
from serving.guard import Guard
from serving.release import Release
from serving.rows import Asked
from serving.watch import MOST_WAITING, Watch, share_of
from tests.serving.asgi import ask, post
from tests.serving.conftest import NAMES, as_rows, random_rows
from training import predictions
from training.drift import SCORE, SURE, Bins, alerts, psi
from training.supervised.bundle import Bundle

SHIFT = 3


def watched(bundle: Bundle, statement: Release, watch: Watch) -> Guard:
    """The service with a watch."""
    app = base.make_app(bundle, statement)
    app.state.watch = watch
    return Guard(app, base.RULES)


def logged(place: Workspace) -> pd.DataFrame:
    """What lies in the log of the version."""
    return predictions.read(place, "churn", 3)


@pytest.fixture
def into(workplace: Workspace) -> Path:
    """Folder of the log."""
    return predictions.folder(workplace, "churn", 3)


def test_answers_are_logged_without_values(
    bundle: Bundle, statement: Release, workplace: Workspace, into: Path
) -> None:
    """Each row with its answer, score and bins; no id and no number of a feature."""
    watch = Watch(bundle, into, 1.0)
    app, X = watched(bundle, statement, watch), random_rows(20, seed=31)
    replies = [post(app, path, as_rows(X)).json for path in ("/predict", "/explain")]
    watch.close()
    told = logged(workplace)
    assert len(told) == 40
    assert set(told["origin"]) == {"request"}
    assert set(told["request_id"]) == {reply["request_id"] for reply in replies}
    answers, scores = bundle.predict(X)
    for _, part in told.groupby("request_id"):
        assert part["row"].to_list() == list(range(20))
        assert (part["answer"].to_numpy() == answers).all()
        assert (part["score"].to_numpy() == scores).all()
        assert (predictions.codes(part) == Bins.of(bundle).codes(X, scores)).all()
    assert told["customer_id"].isna().all()
    assert list(told.columns) == predictions.SCHEMA.names
    assert predictions.versions(workplace, "churn") == [3]


def test_customers_asked_by_id_are_known_to_the_ledger(
    bundle: Bundle, workplace: Workspace, into: Path
) -> None:
    """Their internal number and the moment of their profile, to be held against labels."""
    watch, X = Watch(bundle, into, 1.0), random_rows(2, seed=32)
    people, moment = np.array([2**62 + 1, 7]), datetime(2025, 6, 30)
    watch.add(Asked(X, [], people, moment), "r", *bundle.predict(X))
    watch.close()
    told = logged(workplace)
    assert told["customer_id"].astype("int64").to_list() == [2**62 + 1, 7]
    assert set(told["cutoff"]) == {pd.Timestamp(moment)}


def test_erased_customers_leave_the_log(bundle: Bundle, workplace: Workspace, into: Path) -> None:
    """Their answers stay as anybody's; nobody else's row changes."""
    watch, X = Watch(bundle, into, 1.0), random_rows(3, seed=39)
    people, moment = np.array([5, 7, 2**62 + 1]), datetime(2025, 6, 30)
    watch.add(Asked(X, [], people, moment), "r", *bundle.predict(X))
    watch.close()
    before = logged(workplace)
    assert predictions.forget(workplace, "churn", 3, {7, 8}) == 1
    after = logged(workplace)
    assert after["customer_id"].isna().to_list() == [False, True, False]
    kept = [name for name in after if name not in ("customer_id", "bins")]
    pd.testing.assert_frame_equal(after[kept], before[kept])
    assert predictions.forget(workplace, "churn", 3, {7, 8}) == 0
    (path,) = into.iterdir()
    assert 2**62 + 1 in pq.read_table(path)["customer_id"].to_pylist()


def test_a_share_is_the_same_requests_for_everyone(
    bundle: Bundle, workplace: Workspace, into: Path
) -> None:
    """About that share, chosen by the request's id; all are counted."""
    watch, X = Watch(bundle, into, 0.2), random_rows(1, seed=33)
    for i in range(500):
        watch.add(Asked(X, []), f"request-{i}", *bundle.predict(X))
    watch.close()
    kept = set(logged(workplace)["request_id"])
    assert 60 < len(kept) < 140
    assert watch.answered == 500
    other = Watch(bundle, into, 0.1)
    for i in range(500):
        other.add(Asked(X, []), f"request-{i}", *bundle.predict(X))
    other.close()
    again = logged(workplace)["request_id"].value_counts()
    assert set(again.index[again == 2]) < kept
    assert set(again.index) == kept


def test_no_share_no_file(bundle: Bundle, into: Path) -> None:
    """Counted all the same."""
    watch, X = Watch(bundle, into, 0.0), random_rows(1, seed=33)
    watch.add(Asked(X, []), "r", *bundle.predict(X))
    watch.close()
    assert watch.answered == 1
    assert not into.exists()


def test_a_log_that_cannot_be_written_fails_no_request(
    bundle: Bundle, statement: Release, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are lost are counted, and the next file is tried."""
    into.parent.parent.mkdir(parents=True)
    into.parent.write_text("in the way")
    watch = Watch(bundle, into, 1.0)
    app = watched(bundle, statement, watch)
    assert post(app, "/predict", as_rows(random_rows(3, seed=34))).status == 200
    watch.close()
    assert (watch.lost, watch.logged) == (3, 0)
    odd = Watch(bundle, into, 1.0)
    with monkeypatch.context() as broken:
        broken.setattr(Bins, "codes", None)
        app = watched(bundle, statement, odd)
        assert post(app, "/predict", as_rows(random_rows(3, seed=34))).status == 200
        odd.close()
    assert odd.lost == 3


def test_too_many_waiting_rows_are_lost_and_counted(bundle: Bundle, into: Path) -> None:
    """Memory stays bounded where the disk is slower than the requests."""
    watch = Watch(bundle, into, 0.0)
    watch._stop.set()
    watch._thread.join()
    X = np.zeros((1000, len(NAMES)))
    scores = np.zeros(1000)
    for _ in range(MOST_WAITING // 1000 + 5):
        watch.add(Asked(X, []), "r", scores, scores)
    assert watch.lost == 5000
    assert watch._waiting_rows == MOST_WAITING
    watch.close()


def test_metrics_tell_of_the_model(bundle: Bundle, statement: Release, into: Path) -> None:
    """Counts, age, missing values, drift and scores are on the page that Prometheus reads."""
    watch = Watch(bundle, into, 1.0)
    app, X = watched(bundle, statement, watch), random_rows(400, seed=35)
    X[:, 0] += 1000.0
    post(app, "/predict", as_rows(X))
    watch.close()
    text = ask(app, "GET", "/metrics").body.decode()
    assert 'perennial_requests_total{route="/predict",status="2xx"} 1.0' in text
    assert "perennial_answers_total 400.0" in text
    assert "perennial_log_rows_total 400.0" in text
    found = {
        line.split(" ")[0]: float(line.split(" ")[1])
        for line in text.splitlines()
        if not line.startswith("#")
    }
    drift = {n: found[f'perennial_drift_index{{column="{n}"}}'] for n in (*NAMES, SCORE)}
    assert max(drift, key=drift.__getitem__) == NAMES[0]
    assert drift[NAMES[0]] > 1
    missing = np.isnan(X).mean(axis=0)
    for name, share in zip(NAMES, missing, strict=True):
        assert found[f'perennial_missing_ratio{{column="{name}"}}'] == pytest.approx(share)
    scores = [v for k, v in found.items() if k.startswith("perennial_score_ratio")]
    assert sum(scores) == pytest.approx(1.0)
    assert found["perennial_model_age_days"] > 5000


def test_shares_are_shares() -> None:
    """What the environment says is checked when the service starts."""
    assert share_of("0.25") == 0.25
    for odd in ("", "all", "-1", "1.5", "nan"):
        with pytest.raises(ConfigError, match="expected a share"):
            share_of(odd)


def test_index_is_that_of_the_definition_and_chance_is_covered() -> None:
    """Two samples of one population exceed the bound about as often as it says."""
    value, chance = psi(np.array([0, 50, 50]), np.array([0, 80, 20]))
    assert chance == pytest.approx(chi2.ppf(SURE, 1) * 2 / 100)
    assert value == pytest.approx(0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5))
    rng = np.random.default_rng(1)
    beyond = 0
    for _ in range(2000):
        then, now = (np.bincount(rng.integers(0, 10, n), minlength=10) for n in (1000, 300))
        found, chance = psi(then, now)
        beyond += found > chance
    assert beyond <= 8


def test_bins_tell_missing_values_words_and_sides(bundle: Bundle) -> None:
    """A column that is suddenly missing, and one that moved, are named with their shares."""
    then = random_rows(1000, seed=37)
    assert bundle.golden is not None
    golden = replace(bundle.golden, X=then, score=bundle.predict(then)[1])
    bins, X = Bins.of(replace(bundle, golden=golden)), random_rows(2000, seed=36)
    scores = bundle.predict(X)[1]
    same = bins.table(bins.counted(bins.codes(X, scores)))
    assert not same["alert"].any()
    odd = X.copy()
    odd[:, 4] = np.nan
    odd[:, SHIFT] = 0.99
    told = bins.table(bins.counted(bins.codes(odd, scores)))
    assert set(told.loc[told["alert"], "column"]) == {NAMES[4], NAMES[SHIFT]}
    text = "\n".join(alerts(told))
    assert f"{NAMES[4]} has shifted" in text
    assert "were missing, now 100%" in text


def test_the_grafana_board_shows_what_is_exported(
    bundle: Bundle, statement: Release, into: Path
) -> None:
    """Every name that the board asks for is on the page, and everything on the page is shown."""
    watch = Watch(bundle, into, 0.0)
    app = watched(bundle, statement, watch)
    post(app, "/predict", as_rows(random_rows(2, seed=38)))
    watch.close()
    page = ask(app, "GET", "/metrics").body.decode()
    exported = set(re.findall(r"^(perennial_\w+)", page, re.MULTILINE))
    board = json.loads((Path(serving.__path__[0]) / "grafana.json").read_text())
    asked = {t["expr"] for panel in board["panels"] for t in panel["targets"]}
    shown = {name for expr in asked for name in re.findall(r"perennial_\w+", expr)}
    assert shown <= exported
    ends = ("_sum", "_count", "_created")
    assert exported - shown <= {name for name in exported if name.endswith(ends)}
