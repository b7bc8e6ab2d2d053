"""From scores to answers: learned on out-of-time scores, moved to the season, monotone.

A score in log-odds first moves by the season's shift, then becomes a probability: as it is
(``expit``), spread more or less widely (``spread``), or through Platt's line, a beta curve or an
isotonic one. A score in log-currency moves by the season's shift, too; it is then the logarithm of
an expected value up to one factor. All steps keep the order of customers, so explanations of the
score stay true.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit

from features.errors import ConfigError
from features.settings import Strict
from training.contract import Floats
from training.contract import Kind as Question

FILE = "calibrator.json"
LEAST = 1e-4
MAX_SHIFT = 5.0

Kind = Literal["expit", "spread", "platt", "beta", "isotonic", "identity", "factor"]
FIT: dict[Question, tuple[Kind, ...]] = {
    "event": ("expit", "spread", "platt", "beta", "isotonic"),
    "amount": ("identity", "factor"),
}
"""Curves that fit the answers to a kind of question."""
SEASONAL: dict[Question, tuple[Kind, ...]] = {**FIT, "event": ("spread",)}
"""Those where the season tells the level: of an event only how sure scores are is left to learn, of
an amount by what factor earlier seasons were missed."""
PLAIN: tuple[Kind, ...] = ("expit", "identity")
"""Curves that learn nothing."""
LOSS: dict[Question, str] = {"event": "log_loss", "amount": "total_error"}
"""What a curve is chosen by: log loss, or the absolute log of predicted over actual total."""


class CalibrateConfig(Strict):
    """Which steps may be chosen; the choice is made on out-of-time folds."""

    kinds: tuple[Kind, ...] | None = Field(default=None, min_length=1)
    """None: all that fit the question; of an event whose season is heeded, the spread alone."""
    season: bool = True
    """Whether the level is that of the same season a year before, wherever a year lies before.

    It is not put to the vote: validation cutoffs in quiet months cannot tell what it is worth at
    Christmas.
    """
    min_improvement: float = Field(default=0.0005, ge=0)
    """Loss that a later candidate must gain over an earlier one: the plainest comes first."""

    def offered(self, question: Question, season: bool = False) -> tuple[Kind, ...]:
        """The curves to choose from, with the season's level or without.

        Raises
        ------
        ConfigError
            If a named one does not fit the question.
        """
        odd = [kind for kind in self.kinds or () if kind not in FIT[question]]
        if odd:
            raise ConfigError(
                f"calibrate.kinds: {odd} do not fit a question of kind {question!r}; "
                f"known: {list(FIT[question])}"
            )
        return self.kinds or (SEASONAL if season else FIT)[question]


@dataclass(frozen=True)
class Fold:
    """Out-of-time scores of one validation cutoff."""

    scores: Floats
    labels: Floats
    shift: float | None
    """The season's shift as it could be known at that cutoff; None where no year lies before it."""


@dataclass(frozen=True)
class Calibrator:
    """``answer = curve(spread(score) + shift)``; what the curves need is in ``parameters``."""

    kind: Kind
    parameters: Mapping[str, Sequence[float]] = field(default_factory=dict)
    shift: float = 0.0

    def apply(self, scores: Floats) -> Floats:
        """Probabilities or expected values, same shape as ``scores``."""
        moved = self.spread(scores) + self.shift
        if self.kind == "identity":
            return np.asarray(np.exp(moved), dtype=np.float64)
        if self.kind == "factor":
            return np.asarray(np.exp(moved + self.parameters["log"][0]), dtype=np.float64)
        if self.kind in ("expit", "spread"):
            return np.asarray(expit(moved), dtype=np.float64)
        if self.kind == "platt":
            slope, intercept = self.parameters["line"]
            return np.asarray(expit(slope * moved + intercept), dtype=np.float64)
        if self.kind == "beta":
            *slopes, intercept = self.parameters["curve"]
            return np.asarray(expit(_both_logs(moved) @ slopes + intercept), dtype=np.float64)
        knots, values = (np.asarray(self.parameters[name]) for name in ("knots", "values"))
        # Rounding may lift the end of a piece above the knot that it leads to.
        ahead = values[np.minimum(np.searchsorted(knots, moved), len(knots) - 1)]
        return np.asarray(np.minimum(np.interp(moved, knots, values), ahead), dtype=np.float64)

    def spread(self, scores: Floats) -> Floats:
        """What the season's shift is added to, same shape as ``scores``."""
        if self.kind != "spread":
            return scores
        slope, intercept = self.parameters["line"]
        return np.asarray(slope * scores + intercept, dtype=np.float64)

    def save(self) -> dict[str, bytes]:
        """One JSON file."""
        record = {
            "kind": self.kind,
            "parameters": {k: list(v) for k, v in self.parameters.items()},
            "shift": self.shift,
        }
        return {FILE: json.dumps(record).encode()}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> "Calibrator":
        """Restore from verified bytes."""
        return cls(**json.loads(files[FILE]))


def fit(kind: Kind, scores: Floats, labels: Floats) -> Calibrator:
    """Fit one curve.

    Platt (1999), with his smoothed targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2). The spread has
    Platt's slope and the mean answer that the scores give: averaged scores are less sure than they
    may be (Satopää et al. 2014), and their level is the season's. Beta calibration (Kull, Silva
    Filho and Flach 2017, algorithm 1), ``logit p = a ln s - b ln(1 - s) + c`` of the
    uncalibrated probability s, a and b not below 0; isotonic regression by
    pool-adjacent-violators, kept within [1e-4, 1 - 1e-4] so that a log loss stays finite; the
    factor that makes predicted and actual totals equal. The identity and ``expit`` learn nothing.
    """
    if kind in ("identity", "expit"):
        return Calibrator(kind)
    if kind == "factor":
        return Calibrator("factor", {"log": (_log_ratio(scores, labels),)})
    if kind in ("spread", "platt"):
        slope, intercept = _line(scores, labels)
        if kind == "spread":
            intercept = season_shift(slope * scores, expit(scores))
        return Calibrator(kind, {"line": (slope, intercept)})
    if kind == "beta":
        return Calibrator("beta", {"curve": _beta(scores, labels)})
    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(y_min=LEAST, y_max=1 - LEAST, out_of_bounds="clip").fit(
        scores, labels
    )
    return Calibrator(
        "isotonic", {"knots": curve.X_thresholds_.tolist(), "values": curve.y_thresholds_.tolist()}
    )


def _line(scores: Floats, labels: Floats) -> tuple[float, float]:
    """Slope and intercept of Platt's line."""
    from sklearn.linear_model import LogisticRegression

    positives = labels.sum()
    high = (positives + 1) / (positives + 2)
    low = 1 / (len(labels) - positives + 2)
    target = np.where(labels == 1, high, low)
    doubled = np.concatenate([scores, scores])[:, None]
    classes = np.repeat([1.0, 0.0], len(scores))
    line = LogisticRegression(C=np.inf).fit(
        doubled, classes, sample_weight=np.concatenate([target, 1 - target])
    )
    slope = max(float(line.coef_[0, 0]), 1e-6)  # a falling line would turn the order round
    return slope, float(line.intercept_[0])


def _both_logs(scores: Floats) -> Floats:
    """``ln s`` and ``-ln(1 - s)`` of ``s = expit(score)``, shape (n_rows, 2)."""
    both: Floats = np.stack([-np.logaddexp(0.0, -scores), np.logaddexp(0.0, scores)], axis=-1)
    return both


def _beta(scores: Floats, labels: Floats) -> tuple[float, float, float]:
    """Slopes a and b, and c; a slope that comes out below 0 is left out, the rest learned anew."""
    from sklearn.linear_model import LogisticRegression

    logs, kept = _both_logs(scores), [0, 1]
    while kept:
        line = LogisticRegression(C=np.inf).fit(logs[:, kept], labels)
        if (line.coef_[0] >= 0).all():
            break
        kept.pop(int(np.argmin(line.coef_[0])))
    slopes = np.full(2, 0.0)
    if kept:
        slopes[kept] = line.coef_[0]
    # A line that does not rise keeps no order: the least one that does stands for it.
    slopes = slopes if slopes.any() else np.full(2, 1e-6)
    return float(slopes[0]), float(slopes[1]), float(line.intercept_[0])


def season_shift(scores: Floats, labels: Floats, question: Question = "event") -> float:
    """The shift of the scores that makes the mean answer equal the observed rate, or mean.

    Taken at the same season a year earlier, with scores of a model that did not learn from that
    season, it says how far the season departs from what the features alone explain.
    """
    if question == "amount":
        return _log_ratio(scores, labels)
    from scipy.optimize import brentq  # not needed where probabilities are only looked up

    rate = float(labels.mean())

    def excess(shift: float) -> float:
        return float(expit(scores + shift).mean()) - rate

    if excess(-MAX_SHIFT) > 0 or excess(MAX_SHIFT) < 0:
        return -MAX_SHIFT if excess(-MAX_SHIFT) > 0 else MAX_SHIFT
    return float(brentq(excess, -MAX_SHIFT, MAX_SHIFT))


def uncalibrated(scores: Floats, question: Question) -> Floats:
    """What scores say by themselves: log-odds as probabilities, logarithms as amounts."""
    plain = expit(scores) if question == "event" else np.exp(scores)
    return np.asarray(plain, dtype=np.float64)


def choose(
    config: CalibrateConfig,
    folds: Sequence[Fold],
    shift: float | None,
    question: Question = "event",
    in_time: bool = False,
    scores: Floats | None = None,
) -> tuple[Calibrator, list[dict[str, Any]]]:
    """The calibrator that predicts each fold best from the others, and the table of all candidates.

    Where folds follow each other in time, each is predicted from those before it, as answers will
    be: a curve that only makes up for the season in which it was learned does not win.

    Candidates are all with the season's shift where one is known of the cutoff to be served, else
    none; with it, an event's level is known, and curves that have one of their own are left out.
    With the shift only folds that have a year before them can be used (see :func:`levelled`). A
    curve that has nothing to learn from but what would be judged is none, unless there is no other.

    The spread has no level that a season could mislead: any fold teaches it. Of those in time it is
    the newest, whose model has learned from nearly as much as the one that will answer: the more a
    model has learned from, the less sure are its scores. It is not put to the vote, for folds whose
    models had learned from a few cutoffs would be heard as much.

    Parameters
    ----------
    shift
        The season's shift of the cutoff to be served; None where no year lies before it.
    in_time
        Whether the folds follow each other in time, the earliest first.
    scores
        Those that ``shift`` was measured on; None: as those of the folds that teach.
    """
    name, loss = LOSS[question], _log_loss if question == "event" else _total_error
    season = config.season and shift is not None
    judged = [fold for fold in folds if fold.shift is not None or not season]
    if in_time and len(judged) > 1:
        judged = judged[1:]
    lessons = {
        kind: [_lesson(kind, season, _others(f, folds, in_time), in_time) for f in judged]
        for kind in config.offered(question, season)
    }
    fair = {kind for kind, taught in lessons.items() if kind in PLAIN or all(taught)}
    table: list[dict[str, Any]] = []
    for kind in (kind for kind in lessons if kind in fair or not fair):
        losses = []
        for held, lesson in zip(judged, lessons[kind], strict=True):
            curve = _learned(kind, season, lesson or [held], held.shift, held.scores)
            losses.append(loss(held.labels, curve.apply(held.scores)))
        table.append(
            {"kind": kind, "season": season, name: float(np.mean(losses)), "folds": len(judged)}
        )
    best = table[0]
    for candidate in table[1:]:
        if candidate[name] < best[name] - config.min_improvement:
            best = candidate
    for candidate in table:
        candidate["chosen"] = candidate is best
    kind = best["kind"]
    return _learned(kind, season, _lesson(kind, season, folds, in_time), shift, scores), table


def levelled(folds: Sequence[Fold], shift: float | None, question: Question) -> list[Fold]:
    """The folds to learn from, for answers whose season has ``shift``.

    Where none has a year before it, each gets the level of its own labels: the year before the
    cutoff to be served tells that level, and folds what is left, how sure scores are.
    """
    if shift is None or any(fold.shift is not None for fold in folds):
        return list(folds)
    return [replace(fold, shift=season_shift(fold.scores, fold.labels, question)) for fold in folds]


def out_of_fold(
    kind: Kind,
    season: bool,
    folds: Sequence[Fold],
    in_time: bool = False,
    shift: float | None = None,
) -> list[Floats | None]:
    """Answers to each fold by a curve learned on the others; None where it cannot be used.

    Parameters
    ----------
    shift
        Of the season to answer in, where one is heeded; None: each fold's own.
    """
    found: list[Floats | None] = []
    for held in folds:
        if season and held.shift is None:
            found.append(None)
            continue
        lesson = _lesson(kind, season, _others(held, folds, False), in_time)
        moved = held.shift if shift is None else shift
        curve = _learned(kind, season, lesson or [held], moved, held.scores)
        found.append(curve.apply(held.scores))
    return found


def _others(held: Fold, folds: Sequence[Fold], before: bool) -> list[Fold]:
    """The folds besides ``held``, or those before it."""
    place = next(i for i, fold in enumerate(folds) if fold is held)
    return [*folds[:place], *([] if before else folds[place + 1 :])]


def _lesson(kind: Kind, season: bool, folds: Sequence[Fold], in_time: bool) -> list[Fold]:
    """Those of ``folds`` that a curve learns from."""
    if kind == "spread":
        return [*folds[-1:]] if in_time else [*folds]
    return [fold for fold in folds if not season or fold.shift is not None]


def _learned(
    kind: Kind,
    season: bool,
    folds: Sequence[Fold],
    shift: float | None,
    scores: Floats | None = None,
) -> Calibrator:
    """The curve that ``folds`` teach, for answers whose season has ``shift``.

    It was measured on ``scores`` as they are: those spread move as far as gives the same mean.
    """
    moved = shift or 0.0 if season else 0.0
    labels = np.concatenate([fold.labels for fold in folds])
    if kind == "spread":
        taught = np.concatenate([fold.scores for fold in folds])
        curve, scores = fit("spread", taught, labels), taught if scores is None else scores
        farther = season_shift(curve.spread(scores), expit(scores + moved)) if moved else 0.0
        return with_shift(curve, farther)
    own = [fold.scores + (fold.shift or 0.0 if season else 0.0) for fold in folds]
    return with_shift(fit(kind, np.concatenate(own), labels), moved)


def with_shift(calibrator: Calibrator, shift: float) -> Calibrator:
    """The same curve for another season."""
    return replace(calibrator, shift=shift)


def _log_loss(labels: Floats, p: Floats) -> float:
    p = np.clip(p, LEAST, 1 - LEAST)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log1p(-p)))


def _log_ratio(scores: Floats, labels: Floats) -> float:
    """Logarithm of the actual total over that of the scores, within what a season may do."""
    expected, actual = float(np.exp(scores).sum()), float(labels.sum())
    if actual <= 0:
        return -MAX_SHIFT
    return float(np.clip(np.log(actual / expected), -MAX_SHIFT, MAX_SHIFT))


def _total_error(labels: Floats, p: Floats) -> float:
    return abs(float(np.log(max(labels.sum(), LEAST) / p.sum())))
