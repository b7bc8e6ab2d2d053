"""Calibration: known distortions undone, the season found, the order of customers kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from features.errors import ConfigError
from features.settings import validated
from training import calibrate
from training.calibrate import CalibrateConfig, Calibrator, Fold, choose, out_of_fold, season_shift
from training.contract import Floats

KINDS = ("spread", "platt", "isotonic")


def drawn(n: int, seed: int, slope: float = 1.0, intercept: float = 0.0) -> tuple[Floats, Floats]:
    """Scores and labels with ``P(1) = expit(slope * score + intercept)``."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.0, 1.5, n)
    return scores, (rng.random(n) < expit(slope * scores + intercept)).astype(np.float64)


def test_platt_recovers_a_line() -> None:
    """Slope and intercept of a planted distortion come back."""
    for slope, intercept in ((0.4, 0.7), (2.0, -0.5)):
        line = calibrate.fit("platt", *drawn(40_000, 1, slope, intercept)).parameters["line"]
        assert line == pytest.approx((slope, intercept), abs=0.06)


def test_platt_smooths_its_targets() -> None:
    """Perfectly separated classes give a finite line, with Platt's own smoothed targets."""
    scores, labels = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0])
    slope, intercept = calibrate.fit("platt", scores, labels).parameters["line"]
    # The likelihood of targets 3/4 and 1/4 is largest where the gradient vanishes.
    residual = expit(slope * scores + intercept) - np.where(labels == 1, 3 / 4, 1 / 4)
    assert residual.sum() == pytest.approx(0.0, abs=1e-3)
    assert (residual * scores).sum() == pytest.approx(0.0, abs=1e-3)


def test_isotonic_recovers_a_curve() -> None:
    """A step that no line can follow is found; probabilities stay inside (0, 1)."""
    rng = np.random.default_rng(2)
    scores = rng.uniform(-3, 3, 40_000)
    truth = np.where(scores < -1, 0.1, np.where(scores < 1, 0.4, 0.85))
    labels = (rng.random(len(scores)) < truth).astype(np.float64)
    curve = calibrate.fit("isotonic", scores, labels)
    inside = np.abs(np.abs(scores) - 1) > 0.1
    assert np.abs(curve.apply(scores) - truth)[inside].mean() < 0.02
    line = calibrate.fit("platt", scores, labels)
    assert np.abs(line.apply(scores) - truth)[inside].mean() > 0.04
    ends = curve.apply(np.array([-100.0, 100.0]))
    assert 0 < ends[0] < ends[1] < 1


@given(
    st.sampled_from(KINDS),
    st.lists(st.floats(-8, 8), min_size=5, max_size=60),
    st.integers(0, 2**20),
    st.floats(-3, 3),
)
def test_the_order_of_customers_never_changes(
    kind: calibrate.Kind, scores: list[float], seed: int, shift: float
) -> None:
    """A higher score never gets a lower probability, even where labels fall with the score."""
    x = np.array(scores)
    labels = np.random.default_rng(seed).integers(0, 2, len(x)).astype(np.float64)
    labels[:2] = 0.0, 1.0
    curve = calibrate.with_shift(calibrate.fit(kind, x, labels), shift)
    p = curve.apply(np.sort(np.concatenate([x, np.linspace(-9, 9, 50)])))
    assert (np.diff(p) >= 0).all()
    assert ((p >= 0) & (p <= 1)).all()


def test_a_falling_line_is_not_turned_round() -> None:
    """Where labels fall with the score, Platt's line is flat rather than upside down."""
    scores, labels = drawn(5_000, 3, slope=-1.0)
    curve = calibrate.fit("platt", scores, labels)
    assert curve.parameters["line"][0] == pytest.approx(1e-6)
    assert curve.apply(scores).mean() == pytest.approx(labels.mean(), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_is_loaded(kind: calibrate.Kind) -> None:
    """A loaded calibrator gives the same bits and saves the same bytes."""
    scores, labels = drawn(500, 4, 0.7, 0.3)
    made = calibrate.with_shift(calibrate.fit(kind, scores, labels), -0.31)
    files = made.save()
    loaded = Calibrator.load(files)
    assert np.array_equal(loaded.apply(scores), made.apply(scores))
    assert loaded.save() == files
    assert list(files) == [calibrate.FILE]


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=50), st.integers(1, 2**20))
def test_season_shift_matches_the_rate(scores: list[float], seed: int) -> None:
    """Moved by the shift, the mean probability is the observed rate."""
    x = np.array(scores)
    labels = np.random.default_rng(seed).integers(0, 2, len(x)).astype(np.float64)
    shift = season_shift(x, labels)
    if abs(shift) < calibrate.MAX_SHIFT:
        assert expit(x + shift).mean() == pytest.approx(labels.mean(), abs=1e-9)
    else:
        beyond = expit(x + shift).mean() - labels.mean()
        assert beyond * np.sign(shift) <= 1e-9  # further would be needed, no further is gone


def test_season_shift_finds_what_was_planted() -> None:
    """A season that lifts everyone's log-odds by 0.8 is seen as 0.8; one class only is bounded."""
    scores, labels = drawn(60_000, 5, intercept=0.8)
    assert season_shift(scores, labels) == pytest.approx(0.8, abs=0.03)
    assert season_shift(scores, np.ones(len(scores))) == calibrate.MAX_SHIFT
    assert season_shift(scores, np.zeros(len(scores))) == -calibrate.MAX_SHIFT


def seasons(shifts: list[float], known: list[float | None], n: int = 3_000) -> list[Fold]:
    """One fold for each season's true shift, with the shift that was known at its cutoff."""
    folds = []
    for k, (shift, said) in enumerate(zip(shifts, known, strict=True)):
        scores, labels = drawn(n, 10 + k, intercept=shift)
        folds.append(Fold(scores, labels, said))
    return folds


def test_every_candidate_heeds_a_season_that_is_known() -> None:
    """What is made for the cutoff to be served has its shift, and the folds theirs."""
    shifts = [-1.0, 0.0, 1.0]
    config = CalibrateConfig(kinds=("expit", "platt", "isotonic"))
    made, table = choose(config, seasons(shifts, list(shifts)), shift=0.7)
    assert [line["season"] for line in table] == [True] * 3
    assert [line["chosen"] for line in table].count(True) == 1
    assert made.shift == 0.7
    for fold in seasons(shifts, list(shifts)):
        p = calibrate.with_shift(made, fold.shift or 0.0).apply(fold.scores)
        assert p.mean() == pytest.approx(fold.labels.mean(), abs=0.03)


@pytest.mark.parametrize(
    ("config", "shift"),
    [(CalibrateConfig(), None), (CalibrateConfig(season=False), 0.0)],
    ids=["no year before the test", "switched off"],
)
def test_a_season_that_is_unknown_is_none(config: CalibrateConfig, shift: float | None) -> None:
    """Without a year before the cutoff to be served all folds are judged as they are."""
    _, table = choose(config, seasons([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]), shift)
    assert [line["season"] for line in table] == [False] * len(config.offered("event"))
    assert all(line["folds"] == 3 for line in table)


def test_with_the_season_folds_that_have_a_year_before_them_are_judged() -> None:
    """All candidates on the same; one such fold is enough."""
    for known in ([None, -1.0, 1.0, 0.5], [None, None, None, 0.5]):
        folds = seasons([0.0, -1.0, 1.0, 0.5], known, n=400)
        _, table = choose(CalibrateConfig(), folds, shift=0.0)
        assert {line["folds"] for line in table} == {4 - known.count(None)}
        assert calibrate.levelled(folds, 0.0, "event") == folds


def test_folds_without_a_year_before_them_teach_what_is_left_of_a_season() -> None:
    """How sure scores are comes back from folds of every level; the shift alone is the level."""
    folds = unsure([-0.9, 1.1, -0.4], [1.5, 1.5, 1.5], [None] * 3)
    assert calibrate.levelled(folds, None, "event") == folds
    lessons = calibrate.levelled(folds, -0.5, "event")
    for fold in lessons:
        assert expit(fold.scores + fold.shift).mean() == pytest.approx(fold.labels.mean())
    made, table = choose(CalibrateConfig(), lessons, -0.5, in_time=True)
    assert {line["folds"] for line in table} == {2}
    assert all(line["season"] for line in table)
    scores, _ = drawn(20_000, 40)
    p = made.apply(scores)
    assert p.mean() == pytest.approx(expit(scores - 0.5).mean(), abs=0.02)
    assert p.std() > 1.1 * expit(scores - 0.5).std()


def test_the_plainest_comes_first() -> None:
    """A later candidate has to gain ``min_improvement`` over those before it."""
    folds = seasons([0.0, 0.0], [None, None], n=2_000)
    _, table = choose(CalibrateConfig(min_improvement=1.0), folds, shift=None)
    assert [line["chosen"] for line in table] == [True, False, False, False, False]
    assert table[0]["kind"] == "expit"


def test_a_fold_is_judged_by_the_others() -> None:
    """The probabilities of a fold do not depend on its own labels."""
    folds = seasons([0.0, 0.3, -0.2], [None, 0.3, -0.2], n=300)
    turned = [Fold(folds[0].scores, 1 - folds[0].labels, folds[0].shift), *folds[1:]]
    for kind in KINDS:
        before, after = out_of_fold(kind, False, folds), out_of_fold(kind, False, turned)
        assert np.array_equal(before[0], after[0])
        assert not np.array_equal(before[1], after[1])
        with_season = out_of_fold(kind, True, folds)
        assert with_season[0] is None
        assert with_season[1] is not None


def test_unknown_kinds_are_refused() -> None:
    """A kind that does not exist is named with those that do."""
    with pytest.raises(
        ConfigError, match=r"kinds\.0.*'beta', 'isotonic', 'identity' or 'factor'.*spline"
    ):
        validated(CalibrateConfig, {"kinds": ["spline"]}, "calibrate")


def test_amounts_heed_a_season_alike() -> None:
    """One fold with a year before it is enough; with none, each tells nothing of the level."""
    y = np.array([1.0, 4.0, 9.0])
    quiet, unknown = Fold(np.log(y), y, 0.3), Fold(np.log(y) - 1.0, y, None)
    config = CalibrateConfig(kinds=("identity",))
    for folds, shift, heeded in (
        ([quiet, unknown], 0.2, True),
        ([quiet, unknown], None, False),
        ([unknown, unknown], 0.2, True),
    ):
        lessons = calibrate.levelled(folds, shift, "amount")
        made, table = choose(config, lessons, shift, "amount")
        assert [line["season"] for line in table] == [heeded]
        assert made.shift == (shift or 0.0)
    assert [fold.shift for fold in lessons] == pytest.approx([1.0, 1.0])
    assert table[0]["total_error"] == pytest.approx(0.0, abs=1e-9)


def test_what_a_single_fold_teaches_is_not_judged_on_it() -> None:
    """A staircase would win there; asked for alone, it is taken all the same."""
    folds = seasons([0.0, 0.6, 0.3], [None, None, 0.3], n=400)
    config = CalibrateConfig(kinds=calibrate.FIT["event"])
    made, table = choose(config, folds, shift=0.0, in_time=True)
    assert made.kind == "expit"
    assert [line["kind"] for line in table] == ["expit", "spread"]  # which others teach
    staircase = CalibrateConfig(kinds=("isotonic",))
    made, _ = choose(staircase, folds, shift=0.0, in_time=True)
    assert made.kind == "isotonic"
    (*without, p) = out_of_fold("expit", True, folds)
    assert without == [None, None]
    assert p is not None
    assert np.array_equal(p, expit(folds[2].scores + 0.3))


def test_a_beta_curve_is_found_again() -> None:
    """A distortion that no line in log-odds undoes: slopes differ for low and high scores."""
    rng = np.random.default_rng(5)
    scores = rng.normal(0.0, 2.0, 60_000)
    s = expit(scores)
    truth = expit(0.5 * np.log(s) - 1.5 * np.log1p(-s) + 0.2)
    labels = (rng.random(len(s)) < truth).astype(np.float64)
    curve = calibrate.fit("beta", scores, labels)
    assert curve.parameters["curve"] == pytest.approx((0.5, 1.5, 0.2), abs=0.08)
    line = calibrate.fit("platt", scores, labels)
    beta, platt = (np.abs(c.apply(scores) - truth).mean() for c in (curve, line))
    assert beta < 0.3 * platt


def test_a_beta_curve_never_falls() -> None:
    """Where one side would fall it is left out; where all would, the curve is flat."""
    scores, labels = drawn(5_000, 3, slope=-1.0)
    curve = calibrate.fit("beta", scores, labels)
    assert (np.diff(curve.apply(np.linspace(-6, 6, 50))) > 0).all()
    assert min(curve.parameters["curve"][:2]) >= 0


def test_what_needs_no_curve_gets_none() -> None:
    """Scores that are log-odds already: the plainest candidate wins and leaves them alone."""
    folds = [calibrate.Fold(*drawn(4_000, seed), None) for seed in range(3)]
    chosen, _ = calibrate.choose(calibrate.CalibrateConfig(), folds, None)
    assert chosen.kind == "expit"
    assert chosen.apply(folds[0].scores) == pytest.approx(expit(folds[0].scores))


def test_in_time_folds_are_judged_by_those_before_them() -> None:
    """With a season and without: the first judges nothing; out of time each is judged by all."""
    for known, shift in (([None, -1.0, 1.0, 0.5], 0.0), ([None] * 4, None)):
        folds = seasons([0.0, -1.0, 1.0, 0.5], known, n=400)
        judged = 4 - known.count(None) * (shift is not None)
        for in_time in (False, True):
            _, table = choose(CalibrateConfig(), folds, shift, in_time=in_time)
            assert {line["folds"] for line in table} == {judged - in_time}
        turned = [*folds[:3], Fold(folds[3].scores, 1.0 - folds[3].labels, folds[3].shift)]
        for kind in ("spread", "platt"):
            season = shift is not None
            lessons = [
                calibrate._lesson(kind, season, calibrate._others(f[2], f, True), True)
                for f in (folds, turned)
            ]
            assert lessons[0] == lessons[1]


def test_in_time_a_curve_has_to_hold_for_what_follows() -> None:
    """A first block out of season: what is learned there serves no later one, and is not chosen."""
    plain = [calibrate.Fold(*drawn(3_000, seed), None) for seed in (1, 2)]
    odd = calibrate.Fold(*drawn(3_000, 3, intercept=1.5), None)
    folds = [odd, *plain]
    chosen, table = calibrate.choose(calibrate.CalibrateConfig(), folds, None, in_time=True)
    assert chosen.kind == "expit"
    assert {line["folds"] for line in table} == {2}
    for line in table:
        before = [plain[0]] if line["kind"] == "spread" else [odd, plain[0]]
        curves = [
            (calibrate.fit(line["kind"], odd.scores, odd.labels), plain[0]),
            (calibrate.fit(line["kind"], np.concatenate([f.scores for f in before]),
                           np.concatenate([f.labels for f in before])), plain[1]),
        ]  # fmt: skip
        by_hand = [calibrate._log_loss(f.labels, curve.apply(f.scores)) for curve, f in curves]
        assert line["log_loss"] == pytest.approx(np.mean(by_hand))


def unsure(shifts: list[float], slopes: list[float], known: list[float | None]) -> list[Fold]:
    """Cutoffs whose scores are less sure than they may be, each by its own slope and level."""
    return [
        Fold(*drawn(20_000, 30 + k, slope, level), said)
        for k, (level, slope, said) in enumerate(zip(shifts, slopes, known, strict=True))
    ]


def test_the_spread_is_learned_without_the_level() -> None:
    """A planted slope comes back; the mean answer stays what the scores say, whatever the rate."""
    for slope, level in ((1.5, 0.8), (0.6, -1.2)):
        scores, labels = drawn(40_000, 1, slope, level)
        curve = calibrate.fit("spread", scores, labels)
        assert curve.parameters["line"][0] == pytest.approx(slope, abs=0.06)
        assert curve.apply(scores).mean() == pytest.approx(expit(scores).mean(), abs=1e-9)
        assert abs(labels.mean() - expit(scores).mean()) > 0.05


def test_seasons_of_other_levels_teach_the_spread() -> None:
    """Levels swing from cutoff to cutoff: no line holds, the spread does, by the newest alone."""
    folds = unsure([-0.9, 1.1, -0.4], [1.5, 1.5, 1.5], [None] * 3)
    made, table = choose(CalibrateConfig(), folds, None, in_time=True)
    assert made.kind == "spread"
    losses = {line["kind"]: line["log_loss"] for line in table}
    assert losses["spread"] < losses["expit"] - 0.003 < losses["platt"]
    turned = [Fold(fold.scores, 1.0 - fold.labels, None) for fold in folds[:2]]
    again = calibrate._learned("spread", False, calibrate._lesson(
        "spread", False, [*turned, folds[2]], in_time=True), None)  # fmt: skip
    assert again == made
    pooled = calibrate._lesson("spread", False, folds, in_time=False)
    assert len(pooled) == 3


@pytest.mark.parametrize("slopes", [[0.6, 1.0, 1.4], [1.8, 1.0, 0.7]])
def test_with_the_season_only_how_sure_scores_are_is_learned(slopes: list[float]) -> None:
    """By the newest fold, whatever earlier ones say; without a season curves with a level win."""
    folds = unsure([0.9, 0.9, 0.9], slopes, [0.9, 0.9, 0.9])
    made, table = choose(CalibrateConfig(), folds, 0.9, in_time=True)
    assert [line["kind"] for line in table] == ["spread"]
    assert made.parameters["line"][0] == pytest.approx(slopes[-1], abs=0.06)
    unknown, table = choose(CalibrateConfig(), folds, None, in_time=True)
    assert len(table) == len(calibrate.FIT["event"])
    assert unknown.kind in ("platt", "beta", "isotonic")


def test_with_the_season_an_amount_may_still_be_missed_by_a_factor() -> None:
    """Totals that the season foretold too low twice are foretold higher the third time."""
    y = np.array([1.0, 4.0, 9.0])
    folds = [Fold(np.log(y) - 0.5, y, 0.3), Fold(np.log(y) - 0.6, y, 0.4)]
    made, _ = choose(CalibrateConfig(), folds, 0.1, "amount", in_time=True)
    assert made.kind == "factor"
    assert made.apply(np.log(y)) == pytest.approx(y * np.exp(0.1 + 0.2))


def test_the_season_moves_what_is_spread_as_far_as_the_scores() -> None:
    """The mean answer is that of the moved scores, so the season's level is met all the same."""
    folds = unsure([-0.8, -0.8, -0.8], [1.8, 1.8, 1.8], [None, None, -0.8])
    made, _ = choose(CalibrateConfig(), folds, -0.8, in_time=True)
    assert made.kind == "spread"
    scores, _ = drawn(20_000, 40)
    assert made.apply(scores).mean() == pytest.approx(expit(scores - 0.8).mean(), abs=0.01)
    without = calibrate.with_shift(made, 0.0)
    assert without.apply(scores).mean() == pytest.approx(expit(scores).mean(), abs=0.01)
