"""When an event comes: hazards of known worlds, times that agree, and how they are judged."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from features import columns as c
from features.errors import ConfigError, DataError
from features.schema import FeatureColumn
from features.settings import Part, resolve
from tests.training.samples import splits as samples
from tests.worlds import BEGAN, DAY, line, tables, world
from training.calibrate import CalibrateConfig, Calibrator
from training.contract import DAY as LABEL_DAY
from training.contract import LABEL, Floats, matrix
from training.details import Season, Unseen
from training.details.timing import EventTiming, EventTimingConfig, day_of, mean_days
from training.evaluate import judge
from training.model_part import ModelPart
from training.models.hazards import Hazards, HazardsConfig
from training.pipeline import TASKS
from training.rows import Rows
from training.supervised import points
from training.supervised.bundle import Answer, Bundle
from training.supervised.points import by_then, concordance, judge_points, learn_points
from training.supervised.timing_report import sections, timing_report

ENDS = (15, 30, 60, 90)
POINTS = (30, 60)
COLUMNS = (
    "rfm__recency_days",
    "cadence__gap_median_days",
    "cadence__gap_max_days",
    "orders__noise",
)
NOW = BEGAN + 400 * DAY


def hazards(X: pd.DataFrame) -> Floats:
    """The true chance of each period: it falls with recency, ever less the later the period."""
    recency = np.log1p(X["rfm__recency_days"].to_numpy()) - 4.0
    margins = [base - slope * recency for base, slope in
               zip((-1.6, -1.5, -0.9, -1.2), (1.2, 0.9, 0.5, 0.1), strict=True)]  # fmt: skip
    return 1.0 / (1.0 + np.exp(-np.stack(margins, axis=1)))


def people(n: int, seed: int) -> tuple[pd.DataFrame, Floats]:
    """Feature rows, and the day on which the event came: 0 where it did not within 90 days."""
    rng = np.random.default_rng(seed)
    gap = np.where(rng.random(n) < 0.7, rng.integers(3, 90, n), np.nan)
    X = pd.DataFrame(dict(zip(
        COLUMNS, (rng.exponential(80.0, n), gap, gap * 1.5, rng.normal(size=n)), strict=True
    )))  # fmt: skip
    day, start = np.zeros(n), 0
    for end, chance in zip(ENDS, hazards(X).T, strict=True):
        comes = (day == 0) & (rng.random(n) < chance)
        day[comes] = rng.integers(start + 1, end + 1, comes.sum())
        start = end
    return X, day


@pytest.fixture(scope="module")
def model() -> Hazards:
    """Learned from a world whose hazards are known."""
    return fitted(*people(6_000, seed=1))


def fitted(X: pd.DataFrame, day: Floats, **config: Any) -> Hazards:
    """Hazards of few trees."""
    learned = Hazards(HazardsConfig(periods_days=ENDS, trees=60, max_depth=2, **config))
    learned.fit(X, day, weight=None, seed=0)
    return learned


def timing(**config: Any) -> EventTiming:
    """Details of a question of when."""
    said = {"output": "chance", "horizon_days": 90, "points_days": POINTS, **config}
    return EventTiming(EventTimingConfig(**said))


def test_hazards_of_a_known_world_are_recovered(model: Hazards) -> None:
    """In every period, though their dependence on recency changes from one to the next."""
    X, day = people(4_000, seed=2)
    truth = hazards(X)
    total = model.cumulated(matrix(X, COLUMNS))
    found = -np.expm1(-np.diff(total, axis=1, prepend=0.0))
    assert np.abs(found - truth).mean(axis=0).max() < 0.05
    for k in range(len(ENDS)):
        assert (
            np.corrcoef(np.log(found[:, k]), np.log(truth[:, k]))[0, 1] > (0.9, 0.9, 0.85, 0.2)[k]
        )
    assert (np.diff(np.exp(-total), axis=1) <= 0).all(), "survival rises"
    risk = total[:, -1]
    everyone = np.ones((1, len(day)))
    best = concordance(day, -np.log1p(-truth).sum(axis=1), everyone)[0]
    assert best - 0.02 < concordance(day, risk, everyone)[0] < best + 0.01


def test_permuted_days_teach_nothing() -> None:
    """No chance by any day tells more of others than the rate does."""
    X, day = people(3_000, seed=1)
    learned = fitted(X, np.random.default_rng(5).permutation(day))
    later, truth = people(3_000, seed=2)
    by = -np.expm1(-learned.cumulated(matrix(later, COLUMNS)))
    for k, end in enumerate(ENDS):
        came = (truth > 0) & (truth <= end)
        rate = np.full(len(came), ((day > 0) & (day <= end)).mean())
        gained = log_loss(came, rate) - log_loss(came, by[:, k])
        assert gained < 0.005, f"by day {end} better by {gained:.3f} than the rate"


def test_absence_is_the_other_side(model: Hazards) -> None:
    """Asked whether it does not come, score and contributions turn round."""
    X, day = people(6_000, seed=1)
    other = fitted(X, day, asks="whether not")
    asked = matrix(X, COLUMNS)[:50]
    assert np.array_equal(other.score(asked), -model.score(asked))
    turned, told = other.explain(asked), model.explain(asked)
    assert np.array_equal(turned.contributions, -told.contributions)
    assert np.abs(told.scores - model.score(asked)).max() < 1e-5


def test_each_period_is_credited_along_the_way(model: Hazards) -> None:
    """The contributions are the integral of the score's slope, here summed in small steps."""
    X = matrix(people(40, seed=3)[0], COLUMNS)
    told = [period.explain(X) for period in model._periods]
    base = np.array([e.base[0] for e in told])
    moved = np.stack([e.contributions for e in told])
    way, steps = moved.sum(axis=2).T, 2_000
    expected = np.zeros_like(X)
    for step in range(steps):
        at = np.logaddexp(0.0, base + (step + 0.5) / steps * way)
        slope = -np.expm1(-at) / -np.expm1(-at.sum(axis=1, keepdims=True))
        expected += np.einsum("nk,knj->nj", slope, moved) / steps
    assert np.abs(model.explain(X).contributions - expected).max() < 1e-6


def test_times_agree_with_the_answer_and_each_other(model: Hazards) -> None:
    """Whatever calibration made of the answer; no chance by a later day is lower."""
    X = matrix(people(300, seed=3)[0], COLUMNS)
    for absent in (False, True):
        details = timing(absent=absent)
        for answers in (np.full(len(X), 0.5), np.linspace(0.01, 0.99, len(X))):
            told = details.of(model, X, answers, answers)
            by = np.stack([told["chance_30d"], told["chance_60d"], answers], axis=1)
            assert (np.diff(by, axis=1) * (-1 if absent else 1) >= 0).all()
            days = [told[f"{n}_in_days"] for n in ("earliest", "expected", "latest")]
            assert (np.diff(np.stack(days), axis=0) >= 0).all()
            comes = 1 - answers if absent else answers
            never = comes < 0.5 - 1e-9
            assert (days[1][never] == 90).all()
            assert (days[1][comes > 0.5 + 1e-9] < 90).all()
            assert ((told["mean_days_of_90"] > 0) & (told["mean_days_of_90"] <= 90)).all()
    assert [d.name for d in details.declared] == list(told)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.001, 3.0), min_size=4, max_size=4), st.floats(0.05, 0.95))
def test_days_are_those_of_the_curve(steps: list[float], share: float) -> None:
    """The quantile solves S = 1 - share; the mean is the area under S, summed in small steps."""
    ends, total = np.array([0.0, *ENDS]), np.cumsum([0.0, *steps])[None, :]
    day = day_of(ends, total, share)[0]
    stays = np.exp(-np.interp(day, ends, total[0]))
    assert stays == pytest.approx(1 - share) if day < 90 else stays >= 1 - share - 1e-9
    grid = (np.arange(90_000) + 0.5) / 1_000
    area = np.exp(-np.interp(grid, ends, total[0])).mean() * 90
    assert mean_days(ends, total)[0] == pytest.approx(area, rel=1e-4)


def test_points_follow_the_newest_cutoff_and_the_season(model: Hazards) -> None:
    """How sure chances are is learned from days that taught nothing, their level from last year."""
    X, day = people(3_000, seed=4)
    asked = matrix(X, COLUMNS)
    answers = np.full(len(asked), 0.98)
    # Days that have nothing to do with the customer: what was learned of them is worth nothing.
    blind = np.random.default_rng(5).permutation(day)
    plain, learned = timing(), timing()
    older = Unseen(model, asked, (day > 0) * 1.0, day)
    learned.fit([older, Unseen(model, asked, (blind > 0) * 1.0, blind)], None)
    for days in POINTS:
        told = [d.of(model, asked, answers, answers)[f"chance_{days}d"] for d in (plain, learned)]
        assert told[1].std() < 0.3 * told[0].std()
        assert told[1].mean() == pytest.approx(told[0].mean(), abs=0.01)
    again = timing()
    again.load(learned.save())
    pairs = zip(
        *(d.of(model, asked, answers, answers).values() for d in (learned, again)), strict=True
    )
    assert all(np.array_equal(a, b) for a, b in pairs)
    slow = np.where((day > 0) & (day <= 45), day * 2, 0.0)
    seen = Unseen(model, asked, (slow > 0) * 1.0, slow)
    # A year ago the same weeks were as slow, at the validation cutoff and before it.
    season = timing()
    season.fit([seen], Season(seen, asked, model, asked))
    told = season.of(model, asked, answers, answers)["chance_30d"].mean()
    assert abs(told - ((slow > 0) & (slow <= 30)).mean()) < 0.02


def test_due_and_overdue_look_at_the_own_rhythm(model: Hazards) -> None:
    """Past the usual gap, past the longest, before both, or no gap so far."""
    names = {"since": COLUMNS[0], "usual": COLUMNS[1], "longest": COLUMNS[2]}
    X = np.array([[10.0, 20, 40, 0], [30, 20, 40, 0], [50, 20, 40, 0], [50, np.nan, np.nan, 0]])
    told = timing(**names).of(model, X, np.full(4, 0.5), np.full(4, 0.5))
    assert told["state"].tolist() == ["early", "due", "overdue", "no rhythm"]


def task(**config: Any) -> Any:
    """A question of when."""
    said = {
        "name": "asked", "output": "number", "question": "Within {horizon_days} days?",
        "horizon_days": 60, "points_days": [30], **config,
    }  # fmt: skip
    return resolve(TASKS, Part(use="timing.Timing", config=said))


LINES = [
    line(1, BEGAN + 10 * DAY, "1-a", 5_000), line(1, NOW, "1-b", 900),
    line(2, BEGAN + 100 * DAY, "2-a", 5_000), line(2, NOW + 29 * DAY, "2-b", 900),
    line(2, NOW + 31 * DAY, "2-c", 900),
    line(3, BEGAN + 90 * DAY, "3-a", 700), line(3, NOW + 5 * DAY, "3-b", 700),
    line(3, NOW + 6 * DAY, "C3-b", -700, -1, ref="3-b"), line(3, NOW + 60 * DAY, "3-c", 700),
    line(4, BEGAN + 90 * DAY, "4-a", 700), line(4, NOW + 59.9 * DAY, "4-b", 700),
]  # fmt: skip


def test_the_day_is_that_of_the_first_event_kept() -> None:
    """The first day after the cutoff is 1; what is taken back is none; the horizon is half open."""
    opened, asked = tables({"order_lines": world(LINES)}), task()
    spine = opened.backend.create_table("asked", asked.spine(opened.asof([NOW])))
    found: pa.Table = opened.backend.to_pyarrow(
        asked.label(spine, opened.following([NOW], 60, 0)).order_by(c.CUSTOMER)
    )
    opened.backend.disconnect()
    assert found[LABEL_DAY].to_pylist() == [1.0, 30.0, 0.0, 60.0]
    assert found[LABEL].to_pylist() == [1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"points_days": [60]}, "below the horizon of 60"),
        ({"points_days": [30, 20]}, "rising days"),
        ({"since": "rfm__recency_days"}, "name all three features, or none"),
    ],
)
def test_questions_of_when_that_contradict_themselves_are_refused(
    config: dict[str, Any], said: str
) -> None:
    """By the settings alone."""
    with pytest.raises(ConfigError, match=said):
        task(**config)


def test_models_that_cannot_tell_when_are_refused() -> None:
    """With the setting that would help."""
    fits, X = Hazards(HazardsConfig(periods_days=ENDS)), np.zeros((1, 4))
    assert timing().problems(fits) == []
    assert (
        "take hazards.Hazards"
        in timing().problems(resolve("training.models", Part(use="gbm.Gbm")))[0]
    )
    assert "horizon after 120" in timing(horizon_days=120).problems(fits)[0]
    assert "points_days [45]" in timing(points_days=(45,)).problems(fits)[0]
    assert "model.config.asks" in timing(absent=True).problems(fits)[0]
    with pytest.raises(ConfigError, match=r"no feature \['lost', 'lost', 'lost'\]"):
        timing(since="lost", usual="lost", longest="lost").fit([Unseen(fits, X, X[0], X[0])], None)


def test_concordance_is_that_of_all_pairs() -> None:
    """Counted one by one, weights and ties included."""
    rng = np.random.default_rng(0)
    day, risk = rng.integers(0, 6, 120).astype(float), rng.integers(0, 30, 120).astype(float)
    w = rng.integers(0, 3, 120).astype(float)
    when = np.where(day > 0, day, 99)
    right = pairs = 0.0
    for i in range(120):
        for j in range(120):
            if when[i] < when[j]:
                pairs += w[i] * w[j]
                right += w[i] * w[j] * ((risk[i] > risk[j]) + (risk[i] == risk[j]) / 2)
    found = concordance(day, risk, np.stack([w, 2 * w]))
    assert found == pytest.approx(right / pairs, abs=1e-12)


def dated(n: int = 400) -> Rows:
    """Test rows of the known world."""
    X, day = people(n, seed=7)
    customers, at = np.arange(n, dtype=np.int64), np.full(n, np.datetime64(NOW, "us"))
    return Rows(X, (day > 0).astype(float), customers, at, None, day)


def test_every_day_is_judged_with_the_same_draws() -> None:
    """Metrics by each day are those of the event by then; the whole time's is their mean."""
    rows = dated()
    curve = 1 - np.cumprod(1 - hazards(rows.X), axis=1)
    true = dict(zip(ENDS, curve.T, strict=True))
    given = {"candidate": true[90], "other": np.full(len(rows), rows.y.mean())}
    judged = judge(rows, given, dict.fromkeys(given, 0.5), 30, 3)
    flat = {d: np.full(len(rows), by_then(rows, d, absent=False).mean()) for d in POINTS}
    chances = {"candidate": {d: true[d] for d in POINTS}, "other": flat}
    found = judge_points(judged, rows, chances, 90, False, 30, 3)
    assert set(points.metric_names(POINTS)) <= set(found.draws["candidate"])
    assert (found.draws["candidate"]["log_loss"] == judged.draws["candidate"]["log_loss"]).all()
    loss = [(true[d] - by_then(rows, d, absent=False)) ** 2 for d in (*POINTS, 90)]
    assert found.draws["candidate"]["brier_30d"][0] == pytest.approx(loss[0].mean())
    grid = np.linspace(0, 90, 9_001)
    whole = np.interp(grid, [0, *POINTS, 90], [0.0, *(x.mean() for x in loss)]).mean()
    assert found.draws["candidate"]["integrated_brier"][0] == pytest.approx(whole, rel=1e-3)
    assert found.difference("integrated_brier", "candidate", "other")[1] > 0
    assert found.difference("concordance", "candidate", "other")[1] > 0
    assert "mean_probability_60d" in found.undirected
    by, low, high = found.difference("brier_30d", "candidate", "other")
    assert low < by < high
    assert by > 0, "lower is better"


def test_absent_answers_are_judged_as_they_are_asked() -> None:
    """The chance that nothing comes: other labels, the same order in time."""
    rows = dated()
    curve = np.cumprod(1 - hazards(rows.X), axis=1)
    stays = dict(zip(ENDS, curve.T, strict=True))
    asked = Rows(rows.X, 1 - rows.y, rows.customers, rows.cutoffs, None, rows.days)
    given = {"candidate": stays[90]}
    judged = judge(asked, given, {"candidate": 0.5}, 20, 3)
    found = judge_points(
        judged, asked, {"candidate": {d: stays[d] for d in POINTS}}, 90, True, 20, 3
    )
    assert found.draws["candidate"]["roc_auc_30d"][0] > 0.6
    assert found.draws["candidate"]["concordance"][0] > 0.6


def test_baselines_are_learned_anew_for_every_day() -> None:
    """Each answers the day's own rate; a day by which nobody had the event is refused."""
    made = samples(n=400)
    rng = np.random.default_rng(2)
    day = np.where(made.rows.y == 1, rng.integers(1, 60, len(made.rows)), 0).astype(float)
    rows = Rows(made.rows.X, made.rows.y, made.rows.customers, made.rows.cutoffs, None, day)
    division = type(made)(rows, made.moments, made.gap, "event", made.columns)
    told = learn_points(
        division, {"rates": Part(use="rates.Rates")}, (15, 30), False,
        CalibrateConfig(season=False), 0, lambda: None,
    )  # fmt: skip
    test = division.test
    assert told["day"].tolist() == list(test.days)
    for days in (15, 30):
        rate = by_then(rows, days, absent=False).mean()
        assert told[f"rates_{days}d"].mean() == pytest.approx(rate, abs=0.05)
    late = Rows(rows.X, rows.y, rows.customers, rows.cutoffs, None, np.where(day > 0, 60.0, 0.0))
    with pytest.raises(DataError, match="by day 15, .* all with label 0"):
        learn_points(
            type(made)(late, made.moments, made.gap, "event", made.columns),
            {"rates": Part(use="rates.Rates")}, (15,), False, CalibrateConfig(), 0, lambda: None,
        )  # fmt: skip


def bundle(model: Hazards, **config: Any) -> tuple[Bundle, Floats]:
    """An unwritten bundle that tells times, and rows to ask it."""
    names = {"since": COLUMNS[0], "usual": COLUMNS[1], "longest": COLUMNS[2]}
    details = timing(**names, **config)
    columns = tuple(
        FeatureColumn(name=n, unit="days", meaning=n, missing="not known") for n in COLUMNS
    )
    answer = Answer(
        task="timing", question="Will it come within 90 days?", output="chance", space=model.space,
        model=ModelPart(use="hazards.Hazards", config=model.config.model_dump()), columns=columns,
        threshold=0.5, details=Part(use="timing.EventTiming", config=details.config.model_dump()),
        told=details.declared, cutoff="2025-02-04", horizon_days=90, source="invented",
        currency="EUR", run_key="test",
    )  # fmt: skip
    calibrator = Calibrator("platt", {"line": (1.05, 0.02)})
    rows = matrix(people(120, seed=9)[0], COLUMNS)
    return Bundle(answer, model, calibrator, details=details), rows


def test_reports_hold_what_came_against_what_was_told(model: Hazards) -> None:
    """Curves near the estimate of Kaplan and Meier, intervals near their claim, every state."""
    made, _ = bundle(model)
    rows = dated(3_000)
    groups = {"recent": rows.X[COLUMNS[0]].to_numpy() < 40}
    report = timing_report(made, rows, groups, 50, 1)
    assert (report.curves["expected"] - report.curves["found"]).abs().max() < 0.06
    assert (report.coverage["claimed"] - report.coverage["found"]).abs().max() < 0.06
    assert (report.coverage["claimed"] >= 0.8 - 1e-9).all()
    assert report.states is not None
    assert set(report.states["state"]) == {"early", "due", "overdue", "no rhythm"}
    assert [section.title for section in sections(report)] == [
        "By when", "Intervals of days", "Due and overdue",
    ]  # fmt: skip
