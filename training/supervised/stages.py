"""The stages that learn a supervised answer: labels, search, fit."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from features import columns as c
from features.cutoffs import Snapshots
from features.progress import Progress
from features.settings import Workspace
from features.snapshot import build_features, read_features, read_schema
from features.store import Published, publish
from training.calibrate import uncalibrated
from training.contract import matrix
from training.crossed import cross
from training.gates import CANDIDATE
from training.model_part import ModelPart
from training.pipeline import Prepared
from training.repairs import Repaired
from training.splits import Division, Round, Splits, split, with_seasons
from training.study import storage_url
from training.supervised import changes, fairness, points, stale, tuned
from training.supervised.bundle import Answer
from training.supervised.config import SupervisedConfig, SupervisedPlan
from training.supervised.constraints import held_to_catalogue
from training.supervised.learn import Learned, Reported, baseline_names, learn, write_learned
from training.supervised.levers import Levers
from training.tune import fitted, tune
from training.workers import workers

STAGES = (("labels", 10.0), ("search", 45.0), ("fit", 20.0))
"""With their usual seconds."""


def learn_all(
    place: Workspace, plan: SupervisedPlan, prepared: Prepared, progress: Progress
) -> Published:
    """Search, fit, calibrate and bundle; published under the run's key, recognised if there."""
    key = plan.learn_key(prepared.features)
    study = _study(place, key)

    def write(folder: Path) -> dict[str, Any]:
        return _Stages(place, plan, prepared, progress, key, folder).run()

    published = publish(place.store / "runs" / plan.config.name, key, write)
    if not published.fresh:
        progress.recognised(name for name, _ in STAGES)
    study.unlink(missing_ok=True)
    return published


def work(
    place: Workspace, plan: SupervisedPlan, prepared: Prepared, progress: Progress
) -> pd.DataFrame:
    """Join the search of a run of the same plan, on this machine or another; its trials.

    Raises
    ------
    ConfigError
        If no run has begun it, on the same data, settings and code.
    """
    config, key = plan.config, plan.learn_key(prepared.features)
    splits = division(place, plan, prepared)
    (model,) = _held(plan, splits, config.model)
    _, trials = tune(
        splits.shipped, plan.task.kind, model, config.search, config.seed,
        storage_url(_study(place, key)), lambda done, total: progress.step(done, total, "trial"),
        key, join=True,
    )  # fmt: skip
    return trials


def _named(config: SupervisedConfig) -> set[str]:
    """Feature columns that settings of the model and the baselines name."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list | tuple):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from texts(inner)

    parts = (config.model, *config.baselines)
    everyone = [*parts, *(other for part in parts for other in part.averaged_with)]
    asked = {text for part in everyone for text in texts(part.config) if "__" in text}
    return asked | {name for part in parts for name in part.repairs}


def telling(features: pd.DataFrame, plan: SupervisedPlan) -> pd.DataFrame:
    """The columns that differ between rows, and those that the model or a baseline asks for."""
    asked = _named(plan.config)
    asked |= {c.CUSTOMER, c.CUTOFF}
    constant = [
        n for n in features.columns if n not in asked and features[n].nunique(dropna=False) < 2
    ]
    return features.drop(columns=constant)


def division(place: Workspace, plan: SupervisedPlan, prepared: Prepared) -> Division:
    """Who may teach whom: by time, or by customers where there is no clock."""
    kept = telling(read_features(prepared.features.folder).to_pandas(), plan)
    schema = [k for k in read_schema(prepared.features.folder) if k.name in kept]
    schema = fairness.put_aside(schema, plan.config.audit)
    stored, task, config, moments = prepared.stored, plan.task, plan.config, prepared.moments
    if isinstance(config.cutoffs, Snapshots):
        return cross(
            stored, kept, task, config.cutoffs, moments, schema, config.sample, config.seed
        )
    splits = split(stored, kept, task, moments, schema, config.sample)
    splits, first = replace(splits, half_life_days=config.half_life_days), splits.first_season
    if first is None or not config.calibrate.season:
        return splits
    stored = stored.as_long_as(first)
    alike = build_features(place, stored, config, splits.moments.since(first))
    seen = read_features(alike.folder).to_pandas()[list(kept)]
    return with_seasons(splits, stored, seen, task, config.sample)


@dataclass
class _Stages:
    """One run of the stages, which writes what was learned into ``folder``."""

    place: Workspace
    plan: SupervisedPlan
    prepared: Prepared
    progress: Progress
    key: str
    folder: Path
    blocks: int = field(default=0, init=False)
    """Fits that are done, of all that the last stage makes."""

    def run(self) -> dict[str, Any]:
        """The facts of what was written."""
        config = self.plan.config
        with self.progress.stage("labels"):
            splits = division(self.place, self.plan, self.prepared)
        model, *others = _held(self.plan, splits, config.model, *config.baselines)
        baselines = dict(zip(baseline_names(config.baselines), others, strict=True))
        with self.progress.stage("search"):
            part = self._searched(splits, model)
        with self.progress.stage("fit"):
            return self._fitted(splits, model, part, baselines)

    def _searched(self, splits: Division, model: ModelPart) -> ModelPart:
        """The model with the parameters that the search found."""
        config, study = self.plan.config, _study(self.place, self.key)
        study.parent.mkdir(parents=True, exist_ok=True)
        part, trials = tune(
            splits.shipped, self.plan.task.kind, model, config.search, config.seed,
            storage_url(study), lambda done, total: self.progress.step(done, total, "trial"),
            self.key, beside=workers(self.place, self.plan, config.search.together, study),
        )  # fmt: skip
        trials.to_csv(self.folder / "search.csv", index=False)
        return part

    def _fitted(
        self,
        splits: Division,
        model: ModelPart,
        part: ModelPart,
        baselines: Mapping[str, ModelPart],
    ) -> dict[str, Any]:
        """Candidate and baselines, learned for what is shipped and for each part that is judged."""
        config = self.plan.config
        report = self._counted(splits, len(baselines))

        def anew(within: Round) -> dict[str, Learned]:
            # What an earlier search found may know of who is judged here.
            search = config.search.model_copy(update={"start": ()})
            own, _ = tune(
                within, self.plan.task.kind, model, search, config.seed, None, lambda *_: None
            )
            return self._learned(within, own, baselines, report)

        answers = self._learned(splits.shipped, part, baselines, report)
        if isinstance(splits, Splits):
            self._over_time(splits, model, part, answers, baselines, report)
        return write_learned(
            self.folder, splits, answers, Reported.of(splits, answers, anew),
            self._answer(splits, part, answers[CANDIDATE]), config.seed, self.place.keys,
        )  # fmt: skip

    def _counted(self, splits: Division, baselines: int) -> Callable[[], None]:
        """What to call after each fit."""
        config, days = self.plan.config, len(self.plan.task.points_days)
        rounds = {id(within): within for within in (splits.shipped, *splits.judged)}.values()
        each = baselines * (1 + days) + 1  # baselines are asked by every day
        total = each * sum(len(within.folds) + 1 for within in rounds)
        if isinstance(splits, Splits):
            total += len(config.stale_months)

        def report() -> None:
            self.blocks += 1
            self.progress.step(self.blocks, total, "block")

        return report

    def _learned(
        self,
        within: Round,
        part: ModelPart,
        baselines: Mapping[str, ModelPart],
        report: Callable[[], None],
    ) -> dict[str, Learned]:
        """Every answer; what tells more than the answer is learned of the candidate alone."""
        config, task = self.plan.config, self.plan.task
        answers = {
            CANDIDATE: learn(
                within, task.kind, part, config.calibrate, config.seed, report,
                task.details, config.sets, config.tiers,
            ),
            **{
                name: learn(within, task.kind, baseline, config.calibrate, config.seed, report)
                for name, baseline in baselines.items()
            },
        }  # fmt: skip
        if config.decide is None:
            return answers
        pays = config.decide.threshold
        return {name: replace(answer, threshold=pays) for name, answer in answers.items()}

    def _over_time(
        self,
        splits: Splits,
        model: ModelPart,
        part: ModelPart,
        answers: Mapping[str, Learned],
        baselines: Mapping[str, ModelPart],
        report: Callable[[], None],
    ) -> None:
        """What only a clock can tell: by each day, how answers age, what tuning was worth."""
        config, task, folder = self.plan.config, self.plan.task, self.folder
        if task.points_days:
            points.learn_points(
                splits, baselines, task.points_days, task.config.absent,
                config.calibrate, config.seed, report,
            ).to_parquet(folder / points.FILE)  # fmt: skip
        shipped = answers[CANDIDATE].model
        stale.aged(splits, part, shipped, config.stale_months, config.seed, report).to_parquet(
            folder / stale.FILE
        )
        changes.write_latest(folder, splits.rows.at(splits.moments.teaching[-1]))
        if part != model:
            written = fitted(model, splits.shipped.last, config.seed)
            scores = written.score(matrix(splits.test.X, written.columns))
            tuned.write(folder, uncalibrated(scores, task.kind))

    def _answer(self, splits: Division, part: ModelPart, learned: Learned) -> Answer:
        config, task, source = self.plan.config, self.plan.task, self.plan.source
        schema = {column.name: column for column in splits.columns}
        return Answer(
            task=task.name,
            question=task.question,
            kind=task.kind,
            output=task.output,
            unit=task.unit,
            space=learned.model.space,
            model=part,
            columns=tuple(schema[name] for name in learned.model.columns),
            threshold=learned.threshold,
            details=task.details,
            told=(
                *(learned.details.declared if learned.details else ()),
                *((learned.sets.column(),) if learned.sets else ()),
                *((learned.tiers.column(),) if learned.tiers else ()),
                *((learned.model.column(),) if isinstance(learned.model, Repaired) else ()),
            ),
            sets=learned.sets,
            tiers=learned.tiers,
            levers=config.levers
            and Levers.of(config.levers, splits.columns, splits.shipped.last.taught.X),
            cutoff=f"{self.prepared.moments.test:%Y-%m-%d}",
            horizon_days=task.horizon_days,
            source=source.name,
            currency=source.currency,
            run_key=self.key,
        )


def _held(plan: SupervisedPlan, splits: Division, *parts: ModelPart) -> list[ModelPart]:
    """The parts with the columns that the catalogue puts into their configs."""
    return [held_to_catalogue(part, splits.columns, plan.task) for part in parts]


def _study(place: Workspace, key: str) -> Path:
    return place.store / "studies" / f"{key}.db"
