"""Learning: calibration on the folds, then the model on all that may teach."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.schema import FeatureColumn
from features.settings import Part, resolve
from training.arrays import packed, unpacked
from training.calibrate import (
    CalibrateConfig,
    Calibrator,
    Fold,
    choose,
    levelled,
    out_of_fold,
)
from training.contract import Explanation, Floats, Kind, Model, category_columns, matrix
from training.details import DETAILS, Details, Season, Unseen
from training.evaluate import names_of
from training.gates import CANDIDATE
from training.keys import signing_key
from training.metrics import best_threshold
from training.repairs import TABLE, Repaired
from training.rows import Rows
from training.splits import Block, Division, Round
from training.supervised.bundle import Answer, Bundle, write
from training.supervised.sets import Sets, SetsConfig
from training.supervised.tiers import Tiers, TiersConfig
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
    """Per validation block: rows, rate, mean answer out of fold, season's shift."""
    details: Details | None = None
    """What tells more than the answer, if the task asks for it."""
    sets: Sets | None = None
    """Which answers cannot be ruled out, if the YAML asks for it."""
    tiers: Tiers | None = None
    """From which probabilities a customer is high or medium, if the YAML asks for it."""

    def predict(self, X: pd.DataFrame) -> Floats:
        """Calibrated answers, shape (n_rows,)."""
        return self.calibrator.apply(_scores(self.model, X))


def learn(
    within: Round,
    kind: Kind,
    part: Part,
    config: CalibrateConfig,
    seed: int,
    report: Callable[[], None],
    details: Part | None = None,
    sets: SetsConfig | None = None,
    tiers: TiersConfig | None = None,
) -> Learned:
    """Fit ``part`` for the last block with a calibrator learned on the scores of the folds.

    For each fold the model learns from the rows that may teach it and scores the others; the
    calibrator is chosen and learned on those scores. The model itself learns from all rows that may
    teach the last block.
    """
    folds, unseen, blocks = [], [], within.folds
    for block in blocks:
        rows = _unseen(part, block, seed)
        season = _season(block, rows.model, part, config, seed)
        unseen.append(replace(rows, season=season))
        folds.append(Fold(rows.model.score(rows.X), rows.y, _shift(season, kind)))
        report()
    model = fitted(part, within.last, seed)
    season = _season(within.last, model, part, config, seed)
    shift = _shift(season, kind)
    lessons = levelled(folds, shift, kind)
    asked = None if season is None else season.model.score(season.X)
    calibrator, table = choose(config, lessons, shift, kind, within.in_time, asked)
    chosen = next(line for line in table if line["chosen"])
    out_of_time = out_of_fold(chosen["kind"], chosen["season"], lessons, within.in_time)
    pooled = _pooled(lessons, out_of_time)
    # Cut-offs are compared with answers of the season to come, whatever the folds' own was.
    to_come = _pooled(
        lessons, out_of_fold(chosen["kind"], chosen["season"], lessons, within.in_time, shift)
    )
    threshold = best_threshold(*to_come) if kind == "event" else None
    centre, answered = NAMES[kind]
    report()
    lines = [
        {
            "block": block.name,
            "rows": len(fold.labels), centre: float(fold.labels.mean()),
            answered: "not used" if p is None else f"{p.mean():.4f}",
            "season_shift": "no year before" if fold.shift is None else f"{fold.shift:+.3f}",
        }
        for block, fold, p in zip(blocks, folds, out_of_time, strict=True)
    ]  # fmt: skip
    more: Details | None = resolve(DETAILS, details) if details else None
    if more is not None:
        more.fit(unseen, season if chosen["season"] else None)
    return Learned(
        part,
        model,
        calibrator,
        threshold,
        calibration=pd.DataFrame(table).rename(columns={"folds": "judged_folds"}),
        folds=pd.DataFrame(lines),
        details=more,
        sets=Sets.learned(sets, *pooled) if sets else None,
        tiers=Tiers.learned(tiers, *to_come) if tiers else None,
    )


def _pooled(folds: Sequence[Fold], answers: Sequence[Floats | None]) -> tuple[Floats, Floats]:
    """Labels and answers of the folds that have some, shapes (n_rows,)."""
    judged = [(f.labels, p) for f, p in zip(folds, answers, strict=True) if p is not None]
    labels, given = (np.concatenate(parts) for parts in zip(*judged, strict=True))
    return labels, given


def _unseen(part: Part, block: Block, seed: int) -> Unseen:
    """The rows of a block, and a model that learned from those that may teach it."""
    model, rows = fitted(part, block, seed), block.answered
    return Unseen(model, matrix(rows.X, model.columns), rows.y, rows.days)


def _season(
    block: Block, model: Model, part: Part, config: CalibrateConfig, seed: int
) -> Season | None:
    """The same season a year before, with a model of ``part`` that did not learn from it."""
    if block.season is None or not config.season or not block.season.asked.any():
        return None
    before, now = block.season.before, block.season.now.X
    if len(np.unique(before.answered.y)) < 2 or len(np.unique(before.taught.y)) < 2:
        return None
    then = _unseen(part, before, seed)
    X = matrix(block.answered.X[block.season.asked], model.columns)
    return Season(then, matrix(now, then.model.columns), model, X)


def _shift(season: Season | None, kind: Kind) -> float | None:
    return None if season is None else season.shift_of_scores(kind)


def _scores(model: Model, X: pd.DataFrame) -> Floats:
    return model.score(matrix(X, model.columns))


@dataclass(frozen=True)
class Reported:
    """Answers to rows whose labels taught nothing of them: what is judged."""

    rows: Rows
    blocks: NDArray[np.str_]
    """Name of the block that each row was answered in, shape (n_rows,)."""
    given: dict[str, Floats]
    """Answer -> calibrated answers, shape (n_rows,)."""
    thresholds: dict[str, Floats]
    """Answer -> the threshold that was learned with it, shape (n_rows,); NaN for amounts."""

    @classmethod
    def of(
        cls,
        division: Division,
        shipped: Mapping[str, Learned],
        learned: Callable[[Round], Mapping[str, Learned]],
    ) -> "Reported":
        """The last block of every round, answered by what its round taught.

        Parameters
        ----------
        learned
            Learns a round anew; not asked where the shipped answers themselves are judged.
        """
        found = []
        for within in division.judged:
            answers = shipped if within is division.shipped else learned(within)
            rows = within.last.answered
            found.append((rows, within.last.name, {
                name: (answer.predict(rows.X), answer.threshold) for name, answer in answers.items()
            }))  # fmt: skip
        sizes = [len(rows) for rows, _, _ in found]
        return cls(
            Rows.stacked([rows for rows, _, _ in found]),
            np.repeat([name for _, name, _ in found], sizes),
            {name: np.concatenate([a[name][0] for *_, a in found]) for name in shipped},
            {name: np.repeat([_number(a[name][1]) for *_, a in found], sizes) for name in shipped},
        )

    def write(self, folder: Path) -> None:
        """As Parquet files."""
        rows = self.rows
        columns = {
            "label": rows.y, "customer_id": rows.customers, "cutoff": rows.cutoffs,
            "block": self.blocks, **self.given,
            **{f"{name}.threshold": values for name, values in self.thresholds.items()},
        }  # fmt: skip
        pd.DataFrame(columns).to_parquet(folder / "test.parquet")
        # Words as words: categories come back from Parquet in another order.
        words = dict.fromkeys(category_columns(rows.X), object)
        rows.X.astype(words).to_parquet(folder / "test_rows.parquet")
        if rows.audit is not None:
            rows.audit.to_parquet(folder / "test_audit.parquet")

    @classmethod
    def read(cls, folder: Path, answers: Sequence[str]) -> "Reported":
        """What :meth:`write` wrote of ``answers``; words are words."""
        told, audit = pd.read_parquet(folder / "test.parquet"), folder / "test_audit.parquet"
        rows = Rows(
            pd.read_parquet(folder / "test_rows.parquet"),
            told["label"].to_numpy(np.float64), told["customer_id"].to_numpy(np.int64),
            told["cutoff"].to_numpy("datetime64[us]"),
            pd.read_parquet(audit) if audit.is_file() else None,
        )  # fmt: skip
        return cls(
            rows, told["block"].to_numpy(str),
            {name: told[name].to_numpy(np.float64) for name in answers},
            {name: told[f"{name}.threshold"].to_numpy(np.float64) for name in answers},
        )  # fmt: skip


def _number(threshold: float | None) -> float:
    return float("nan") if threshold is None else threshold


def write_learned(
    folder: Path,
    splits: Division,
    answers: dict[str, Learned],
    reported: Reported,
    answer: Answer,
    seed: int,
    keys: Path,
) -> dict[str, Any]:
    """Write the signed bundle and everything that judging needs; return facts for the manifest."""
    candidate, shown, test = answers[CANDIDATE], splits.shown, reported.rows
    made = Bundle(answer, candidate.model, candidate.calibrator, details=candidate.details)
    X = matrix(shown.X, candidate.model.columns)
    rows = np.random.default_rng(seed).permutation(len(shown))
    private = signing_key(keys)
    digest = write(made, X[rows[:GOLDEN_ROWS]], folder / "bundle", private)
    reported.write(folder)
    explained = made.explain(X[np.sort(rows[:EXPLAINED_ROWS])])
    sample = {k: getattr(explained, k) for k in ("base", "contributions", "values")}
    (folder / "explained.npz").write_bytes(packed(sample))
    splits.table().to_csv(folder / "splits.csv", index=False)
    for name, learned in answers.items():
        learned.calibration.assign(answer=name).to_csv(
            folder / f"calibration.{name}.csv", index=False
        )
        learned.folds.assign(answer=name).to_csv(folder / f"folds.{name}.csv", index=False)
    scores, taught = candidate.model.score(explained.values), splits.shipped.last.taught
    if isinstance(candidate.model, Repaired):
        found = candidate.model.counted({"taught": taught.X, "shown": shown.X})
        found.to_csv(folder / TABLE, index=False)
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
        "taught_rows": len(taught),
        "taught_customers": len(np.unique(taught.customers)),
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
    stored = unpacked((folder / "explained.npz").read_bytes())
    return Explanation(**stored, columns=tuple(c.name for c in columns), space=space)


def baseline_names(parts: tuple[Part, ...]) -> list[str]:
    """Names under which baselines appear: the file of each."""
    return names_of([part.use for part in parts])
