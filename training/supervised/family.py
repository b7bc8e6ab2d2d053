"""The supervised family: a yes/no question or an amount, learned from rows with labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from features import columns as c
from features.cutoffs import Snapshots
from features.errors import ConfigError
from features.progress import Progress
from features.settings import Part, Workspace, resolve
from features.snapshot import read_features, read_schema
from features.store import Published, publish
from training.bundle import MODELS, Loaded
from training.calibrate import uncalibrated
from training.contract import matrix
from training.crossed import cross
from training.details import DETAILS, Detail, Details
from training.gates import CANDIDATE, MEASURED, check_gates
from training.metrics import OF_KIND
from training.pipeline import Prepared, spelled
from training.splits import Division, Round, Splits, split
from training.study import storage_url
from training.supervised import changes, fairness, points, stale, tuned
from training.supervised.bundle import Answer
from training.supervised.config import SupervisedConfig, SupervisedPlan
from training.supervised.constraints import held_to_catalogue
from training.supervised.learn import Learned, Reported, baseline_names, learn, write_learned
from training.supervised.levers import Levers
from training.supervised.pack import write_pack
from training.supervised.points import learn_points
from training.supervised.sets import COLUMN, Sets
from training.supervised.tiers import COLUMN as TIER
from training.supervised.tiers import Tiers
from training.tune import check_space, fitted, tune
from training.workers import workers


def learn_all(
    place: Workspace, plan: SupervisedPlan, prepared: Prepared, progress: Progress
) -> Published:
    """Search, fit, calibrate and bundle; published under the run's key, recognised if there."""
    key = plan.learn_key(prepared.features)
    root = place.store / "runs" / plan.config.name
    study = _study(place, key)

    def write(folder: Path) -> dict[str, Any]:
        with progress.stage("labels"):
            splits = division(plan, prepared)
        config, kind = plan.config, plan.task.kind
        model, *others = _held(plan, splits, config.model, *config.baselines)
        baselines = dict(zip(baseline_names(config.baselines), others, strict=True))

        def learned(within: Round, part: Part, report: Callable[[], None]) -> dict[str, Learned]:
            parts = {CANDIDATE: part} | baselines
            answers = {
                name: learn(
                    within, kind, p, config.calibrate, config.seed, report,
                    plan.task.details if name == CANDIDATE else None,
                    config.sets if name == CANDIDATE else None,
                    config.tiers if name == CANDIDATE else None,
                )
                for name, p in parts.items()
            }  # fmt: skip
            if config.decide is None:
                return answers
            pays = config.decide.threshold
            return {name: replace(answer, threshold=pays) for name, answer in answers.items()}

        with progress.stage("search"):
            study.parent.mkdir(parents=True, exist_ok=True)
            part, trials = tune(
                splits.shipped, kind, model, config.search, config.seed,
                storage_url(study), lambda done, total: progress.step(done, total, "trial"), key,
                beside=workers(place, plan, config.search.together, study),
            )  # fmt: skip
            trials.to_csv(folder / "search.csv", index=False)
        with progress.stage("fit"):
            again = [within for within in splits.judged if within is not splits.shipped]
            blocks = sum(len(within.folds) + 1 for within in (splits.shipped, *again))
            each = 1 + len(plan.task.points_days)  # baselines are asked by every day
            ages = config.stale_months if isinstance(splits, Splits) else ()
            total, done = blocks * (len(baselines) * each + 1) + len(ages), 0

            def report() -> None:
                nonlocal done
                done += 1
                progress.step(done, total, "block")

            def anew(within: Round) -> dict[str, Learned]:
                # What an earlier search found may know of who is judged here.
                search = config.search.model_copy(update={"start": ()})
                own, _ = tune(within, kind, model, search, config.seed, None, _unheard)
                return learned(within, own, report)

            answers = learned(splits.shipped, part, report)
            if plan.task.points_days:
                assert isinstance(splits, Splits), "checked: a question of when has a clock"
                learn_points(
                    splits, baselines, plan.task.points_days, plan.task.config.absent,
                    config.calibrate, config.seed, report,
                ).to_parquet(folder / points.FILE)  # fmt: skip
            if isinstance(splits, Splits):
                shipped = answers[CANDIDATE].model
                stale.aged(splits, part, shipped, ages, config.seed, report).to_parquet(
                    folder / stale.FILE
                )
                changes.write_latest(folder, splits.rows.at(splits.moments.teaching[-1]))
                if part != model:
                    written = fitted(model, splits.shipped.last, config.seed)
                    scores = written.score(matrix(splits.test.X, written.columns))
                    tuned.write(folder, uncalibrated(scores, kind))
            return write_learned(
                folder,
                splits,
                answers,
                Reported.of(splits, answers, anew),
                _answer(plan, prepared, splits, part, answers, key),
                config.seed,
                place.keys,
            )

    published = publish(root, key, write)
    if not published.fresh:
        progress.recognised(("labels", "search", "fit"))
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
    splits = division(plan, prepared)
    (model,) = _held(plan, splits, config.model)
    _, trials = tune(
        splits.shipped, plan.task.kind, model, config.search, config.seed,
        storage_url(_study(place, key)), lambda done, total: progress.step(done, total, "trial"),
        key, join=True,
    )  # fmt: skip
    return trials


def _held(plan: SupervisedPlan, splits: Division, *parts: Part) -> list[Part]:
    """The parts with the columns that the catalogue puts into their configs."""
    return [held_to_catalogue(part, splits.columns, plan.task) for part in parts]


def _study(place: Workspace, key: str) -> Path:
    return place.store / "studies" / f"{key}.db"


def _unheard(done: int, total: int) -> None:
    """Progress that nobody is told."""


def division(plan: SupervisedPlan, prepared: Prepared) -> Division:
    """Who may teach whom: by time, or by customers where there is no clock."""
    features = read_features(prepared.features.folder).to_pandas()
    constant = [
        n
        for n in features.columns
        if n not in (c.CUSTOMER, c.CUTOFF) and features[n].nunique(dropna=False) < 2
    ]
    kept = features.drop(columns=constant)
    schema = [k for k in read_schema(prepared.features.folder) if k.name in kept]
    schema = fairness.put_aside(schema, plan.config.audit)
    stored, task, config, moments = prepared.stored, plan.task, plan.config, prepared.moments
    if isinstance(config.cutoffs, Snapshots):
        return cross(
            stored, kept, task, config.cutoffs, moments, schema, config.sample, config.seed
        )
    splits = split(stored, kept, task, moments, schema, config.sample)
    return replace(splits, half_life_days=config.half_life_days)


def _answer(
    plan: SupervisedPlan,
    prepared: Prepared,
    splits: Division,
    part: Part,
    answers: dict[str, Learned],
    key: str,
) -> Answer:
    learned = answers[CANDIDATE]
    schema = {column.name: column for column in splits.columns}
    return Answer(
        task=plan.task.name,
        question=plan.task.question,
        kind=plan.task.kind,
        output=plan.task.output,
        unit=plan.task.unit,
        space=learned.model.space,
        model=part,
        columns=tuple(schema[name] for name in learned.model.columns),
        threshold=learned.threshold,
        details=plan.task.details,
        told=(
            *(learned.details.declared if learned.details else ()),
            *_set(learned.sets),
            *_tier(learned.tiers),
        ),
        sets=learned.sets,
        tiers=learned.tiers,
        levers=plan.config.levers
        and Levers.of(plan.config.levers, splits.columns, splits.shipped.last.taught.X),
        cutoff=f"{prepared.moments.test:%Y-%m-%d}",
        horizon_days=plan.task.horizon_days,
        source=plan.source.name,
        currency=plan.source.currency,
        run_key=key,
    )


def _set(sets: Sets | None) -> tuple[Detail, ...]:
    """The column that says which answers cannot be ruled out."""
    if sets is None:
        return ()
    meaning = (
        f"yes, no, both or neither: holds the true answer of {sets.coverage:.0%} of the customers "
        "with the event, and of as many without"
    )
    return (Detail(name=COLUMN, unit="set", dtype="string", meaning=meaning),)


def _tier(tiers: Tiers | None) -> tuple[Detail, ...]:
    """The column that says how high the answer is."""
    if tiers is None:
        return ()
    meaning = (
        f"high from probability {tiers.high_from:.4f} on, medium from {tiers.medium_from:.4f}; "
        f"{tiers.precisions[0]:.0%} and {tiers.precisions[1]:.0%} of them had the event on the "
        "validation cutoffs"
    )
    return (Detail(name=TIER, unit="tier", dtype="string", meaning=meaning),)


class Supervised:
    """Search, fit beside baselines, calibrate; judge on the test cutoff's labels."""

    config = SupervisedConfig
    stages = (("labels", 3.0), ("search", 45.0), ("fit", 20.0))

    def spelled(self, config: SupervisedConfig) -> SupervisedConfig:
        """The config with the defaults of model and baselines written out."""
        return config.model_copy(
            update={
                "model": spelled(MODELS, config.model),
                "baselines": tuple(spelled(MODELS, part) for part in config.baselines),
            }
        )

    def check(self, plan: SupervisedPlan) -> None:
        """Refuse models, spaces, gates and calibrations that are not for this kind of question."""
        config, kind = plan.config, plan.task.kind
        for part in (config.model, *config.baselines):
            model = resolve(MODELS, part)
            if kind not in model.answers:
                raise ConfigError(
                    f"{plan.path}: {part.use} answers {model.answers}, "
                    f"the task {config.task.use} asks for {kind!r}"
                )
        if plan.task.details:
            details: Details = resolve(DETAILS, plan.task.details)
            problems = details.problems(resolve(MODELS, config.model))
            if problems:
                raise ConfigError.listing(f"{plan.path}: the model does not tell enough", problems)
        days = plan.task.points_days
        if days and isinstance(config.cutoffs, Snapshots):
            raise ConfigError(f"{plan.path}: cutoffs.snapshots: a question of when needs a clock")
        if not days and "time" in resolve(MODELS, config.model).answers:
            raise ConfigError(
                f"{plan.path}: {config.model.use} learns when; take the task timing.Timing"
            )
        check_space(config.search, config.model, kind)
        known = (*OF_KIND[kind], *points.metric_names(days), *MEASURED)
        check_gates(config.gates, known, points.undirected(days))
        config.calibrate.offered(kind)
        if config.decide is not None and kind != "event":
            raise ConfigError(f"{plan.path}: decide: is about events, the question has {kind!r}")
        if config.half_life_days is not None and isinstance(config.cutoffs, Snapshots):
            raise ConfigError(f"{plan.path}: half_life_days: without a clock no row is older")
        for name in ("sets", "tiers"):
            if getattr(config, name) is not None and kind != "event":
                raise ConfigError(
                    f"{plan.path}: {name}: are about events, the question has {kind!r}"
                )

    def dry_run(self, plan: SupervisedPlan) -> list[str]:
        """Search, candidate and baselines."""
        config = plan.config
        beside = ", ".join(p.use for p in config.baselines)
        return [
            f"search: {config.search.trials} trials of {config.model.use} by "
            f"{config.search.metric}",
            f"fit {config.model.use} beside {beside}, calibrate, judge",
        ]

    def learn(
        self, place: Workspace, plan: SupervisedPlan, prepared: Prepared, progress: Progress
    ) -> Published:
        """As :func:`learn_all`."""
        return learn_all(place, plan, prepared, progress)

    def judge(
        self,
        place: Workspace,
        plan: SupervisedPlan,
        prepared: Prepared,
        learned: Published,
        champion: Loaded | None,
        folder: Path,
    ) -> dict[str, Any]:
        """The review pack: candidate beside baselines and champion on the same rows."""
        return write_pack(place, plan, prepared, learned, champion, folder)


FAMILY = Supervised()
