"""Learning: calibration on earlier blocks, then the shipped model on all that may teach."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.schema import FeatureColumn
from features.settings import Part
from training.bundle import signing_key
from training.calibrate import (
    CalibrateConfig,
    Calibrator,
    Fold,
    choose,
    out_of_fold,
    season_shift,
    with_shift,
)
from training.contract import Explanation, Floats, Kind, Model, category_columns, matrix
from training.evaluate import names_of
from training.gates import CANDIDATE
from training.metrics import best_threshold
from training.splits import Splits
from training.supervised.bundle import Answer, Bundle, write
from training.tune import fitted

GOLDEN_ROWS = 1000
EXPLAINED_ROWS = 2000
NAMES: dict[Kind, tuple[str, str]] = {
    "event": ("rate", "mean_probability"),
    "amount": ("mean", "mean_value"),
}
"""What the mean label and the mean answer are called."""


@dataclass(frozen=True)
class Learned:
    """One answer: model, calibrator, threshold, and how it was chosen."""

    part: Part
    model: Model
    calibrator: Calibrator
    threshold: float | None
    """Probability from which a customer counts as positive; None for amounts."""
    calibration: pd.DataFrame
    folds: pd.DataFrame
    """Per validation cutoff: rows, rate, mean answer out of fold, season's shift."""

    def predict(self, X: pd.DataFrame) -> Floats:
        """Calibrated answers, shape (n_rows,)."""
        return self.calibrator.apply(_scores(self.model, X))


def learn(
    splits: Splits, part: Part, config: CalibrateConfig, seed: int, report: Callable[[], None]
) -> Learned:
    """Fit ``part`` for the test cutoff with a calibrator learned on out-of-time scores.

    For each validation cutoff the model learns from rows whose labels ended by then and scores that
    cutoff; the calibrator is chosen and learned on those scores. The shipped model learns from all
    rows whose labels ended by the test cutoff.
    """
    folds = []
    for cutoff in splits.moments.folds:
        rows = splits.rows.at(cutoff)
        scores = _scores(fitted(part, splits, cutoff, seed), rows.X)
        folds.append(Fold(scores, rows.y, _season(splits, part, cutoff, config, seed)))
        report()
    shift = _season(splits, part, splits.moments.test, config, seed)
    calibrator, table = choose(config, folds, shift is not None, splits.kind)
    chosen = next(line for line in table if line["chosen"])
    out_of_time = out_of_fold(chosen["kind"], chosen["season"], folds)
    judged = [(f.labels, p) for f, p in zip(folds, out_of_time, strict=True) if p is not None]
    pooled = [np.concatenate(parts) for parts in zip(*judged, strict=True)]
    threshold = best_threshold(*pooled) if splits.kind == "event" else None
    centre, answered = NAMES[splits.kind]
    model = fitted(part, splits, splits.moments.test, seed)
    report()
    lines = [
        {
            "cutoff": f"{cutoff:%Y-%m-%d}",
            "rows": len(fold.labels), centre: float(fold.labels.mean()),
            answered: "not used" if p is None else f"{p.mean():.4f}",
            "season_shift": "no year before" if fold.shift is None else f"{fold.shift:+.3f}",
        }
        for cutoff, fold, p in zip(splits.moments.folds, folds, out_of_time, strict=True)
    ]  # fmt: skip
    return Learned(
        part,
        model,
        with_shift(calibrator, (shift or 0.0) if chosen["season"] else 0.0),
        threshold,
        calibration=pd.DataFrame(table).rename(columns={"folds": "judged_folds"}),
        folds=pd.DataFrame(lines),
    )


def _season(
    splits: Splits, part: Part, cutoff: datetime, config: CalibrateConfig, seed: int
) -> float | None:
    """The shift seen in the same season a year ago by a model that did not learn from it."""
    before = splits.year_before(cutoff) if config.season else None
    if before is None:
        return None
    rows, teaching = splits.rows.at(before), splits.taught_by(cutoff, apart_from=before)
    if len(np.unique(rows.y)) < 2 or len(np.unique(teaching.y)) < 2:
        return None
    model = fitted(part, splits, cutoff, seed, apart_from=before)
    return season_shift(_scores(model, rows.X), rows.y, splits.kind)


def _scores(model: Model, X: pd.DataFrame) -> Floats:
    return model.score(matrix(X, model.columns))


def write_learned(
    folder: Path,
    splits: Splits,
    answers: dict[str, Learned],
    answer: Answer,
    seed: int,
    keys: Path,
) -> dict[str, Any]:
    """Write the signed bundle and everything that judging needs; return facts for the manifest."""
    candidate, test = answers[CANDIDATE], splits.test
    made = Bundle(answer, candidate.model, candidate.calibrator)
    X = matrix(test.X, candidate.model.columns)
    rows = np.random.default_rng(seed).permutation(len(test))
    private = signing_key(keys)
    digest = write(made, X[rows[:GOLDEN_ROWS]], folder / "bundle", private)
    given = {name: learned.predict(test.X) for name, learned in answers.items()}
    pd.DataFrame({"label": test.y, "customer_id": test.customers, **given}).to_parquet(
        folder / "test.parquet"
    )
    # Words as words: categories come back from Parquet in another order.
    test.X.astype(dict.fromkeys(category_columns(test.X), object)).to_parquet(
        folder / "test_rows.parquet"
    )
    if test.audit is not None:
        test.audit.to_parquet(folder / "test_audit.parquet")
    explained = made.explain(X[np.sort(rows[:EXPLAINED_ROWS])])
    np.savez(
        folder / "explained.npz", allow_pickle=False,
        base=explained.base, contributions=explained.contributions, values=explained.values,
    )  # fmt: skip
    splits.table().to_csv(folder / "splits.csv", index=False)
    for name, learned in answers.items():
        learned.calibration.assign(answer=name).to_csv(
            folder / f"calibration.{name}.csv", index=False
        )
        learned.folds.assign(answer=name).to_csv(folder / f"folds.{name}.csv", index=False)
    scores = candidate.model.score(explained.values)
    return {
        "digest": digest,
        "thresholds": {name: learned.threshold for name, learned in answers.items()},
        "parts": {name: learned.part.model_dump() for name, learned in answers.items()},
        "calibrators": {
            name: json.loads(next(iter(learned.calibrator.save().values())))
            for name, learned in answers.items()
        },
        "shift": candidate.calibrator.shift,
        "additivity": float(np.abs(explained.scores - scores).max()),
        "taught_rows": len(splits.taught_by(splits.moments.test)),
        "taught_customers": len(np.unique(splits.taught_by(splits.moments.test).customers)),
        "rate": float(test.y.mean()),
        "dropped_immature": sum(splits.immature.values()),
        "dropped_unlabelled": sum(splits.unlabelled.values()),
        "test_rows": len(test),
        "tags": {
            "model_family": candidate.part.use.partition(".")[0],
            "base_rate" if splits.kind == "event" else "mean_label": f"{test.y.mean():.4f}",
        },
        "params": {
            "model": candidate.part.use,
            **{f"model.{k}": v for k, v in candidate.part.config.items()},
            "calibration": candidate.calibrator.kind,
        },
    }


def read_explained(folder: Path, columns: tuple[FeatureColumn, ...], space: str) -> Explanation:
    """The explanation sample that :func:`write_learned` stored."""
    with np.load(folder / "explained.npz", allow_pickle=False) as stored:
        return Explanation(
            stored["base"],
            stored["contributions"],
            stored["values"],
            tuple(c.name for c in columns),
            space,
        )


def baseline_names(parts: tuple[Part, ...]) -> list[str]:
    """Names under which baselines appear: the file of each."""
    return names_of([part.use for part in parts])
