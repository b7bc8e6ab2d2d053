"""One question from raw files to a registered version: what the ``run`` command calls."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from features import columns as c
from features.cutoffs import Moments
from features.errors import ConfigError
from features.identity import KEY_FILE, customer_key
from features.leakage.report import build_checks
from features.progress import Progress
from features.settings import (
    Part,
    Strict,
    Workspace,
    code_fingerprint,
    fingerprint,
    load_yaml,
    override,
    resolve,
    validated,
)
from features.snapshot import SETS, FeaturePlan, build_features, read_features, read_schema
from features.sources import Source, find_files, load_source, raw_paths
from features.store import Published, publish
from features.tables import Stored, build_tables, tables_key
from training.bundle import MODELS, Answer
from training.calibrate import CalibrateConfig
from training.checks import check_horizon, check_question
from training.contract import Task
from training.evaluate import CANDIDATE, Gate, check_gates
from training.learn import baseline_names, learn, write_learned
from training.splits import Splits, split
from training.tune import SearchConfig, check_space, tune

TASKS = "training.tasks"
LIBRARIES = (
    "xgboost-cpu",
    "xgboost",
    "scikit-learn",
    "numpy",
    "pandas",
    "duckdb",
    "optuna",
    "shap",
)


class CardConfig(Strict):
    """What only people know, for the model card."""

    owner: str
    purpose: str
    users: str
    misuse: str
    limits: str
    review_after_days: int = Field(default=90, ge=1)
    """Days after the test cutoff's labels when the version should be judged anew."""


class PipelineConfig(FeaturePlan):
    """A pipeline YAML: one question, one answer, and how it is judged."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the registered model."""
    task: Part
    model: Part
    baselines: tuple[Part, ...] = Field(min_length=1)
    """Always run and shown; the first is the declared baseline that gates speak of."""
    search: SearchConfig = SearchConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    gates: dict[str, Gate]
    bootstrap: int = Field(default=500, ge=20, le=10_000)
    """Draws over customers behind each interval."""
    seed: int = 7
    card: CardConfig
    serve: str | None = None
    """Service file below ``serving``; None = not served."""

    @model_validator(mode="after")
    def _distinct(self) -> "PipelineConfig":
        names = baseline_names(self.baselines)
        if len(set(names)) < len(names) or {CANDIDATE, "champion"} & set(names):
            raise ValueError(f"baselines: each needs a file of its own, found {names}")
        return self


@dataclass(frozen=True)
class Plan:
    """A checked config with its parts, before any data are read."""

    path: Path
    config: PipelineConfig
    task: Task
    source: Source

    def learn_key(self, features: Published) -> str:
        """Fingerprint of everything that the learned answer depends on."""
        learned = self.config.model_dump(
            mode="json", exclude={"card", "gates", "bootstrap", "serve", "engine"}
        )
        return fingerprint(
            features.content,
            learned,
            self.source.name,
            code_fingerprint("features", "training"),
            versions(),
        )


def versions() -> dict[str, str]:
    """Versions of the libraries that results depend on, and of Python."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = installed(name)
        except ModuleNotFoundError:
            continue  # the two builds of xgboost exclude each other
    return found


def load_plan(place: Workspace, path: Path, assignments: Sequence[str] = ()) -> Plan:
    """Read and check a pipeline YAML.

    Every part is built once, so that mistakes show before data are read.

    Raises
    ------
    ConfigError
        If a key, a name or a combination is wrong.
    """
    written = validated(PipelineConfig, override(load_yaml(path), assignments), str(path))
    config = _spelled(written)
    source = load_source(place, config.data, config.source)
    task: Task = resolve(TASKS, config.task)
    check_question(task, source)
    for part in (config.model, *config.baselines):
        model = resolve(MODELS, part)
        if task.kind not in model.answers:
            raise ConfigError(
                f"{path}: {part.use} answers {model.answers}, "
                f"the task {config.task.use} asks for {task.kind!r}"
            )
    check_space(config.search, config.model, task.kind)
    check_gates(config.gates, task.kind)
    config.calibrate.offered(task.kind)
    return Plan(path, config, task, source)


@dataclass(frozen=True)
class Prepared:
    """Published inputs of a run."""

    stored: Stored
    moments: Moments
    features: Published
    checks: Published
    """What the leakage kit found of the features."""


STAGES = (
    ("tables", 15.0),
    ("features", 8.0),
    ("checks", 8.0),
    ("labels", 3.0),
    ("search", 45.0),
    ("fit", 20.0),
    ("judge", 25.0),
    ("register", 15.0),
)


def prepare(place: Workspace, plan: Plan, progress: Progress) -> Prepared:
    """Tables, features and what the leakage kit finds of them, made or recognised."""
    with progress.stage("tables"):
        stored = build_tables(place, plan.source)
        if not stored.published.fresh:
            progress.reused("tables")
    with progress.stage("features"):
        check_horizon(plan.task, stored.first, stored.end)
        moments = plan.config.cutoffs.resolved(stored.first, stored.end)
        features = build_features(place, stored, plan.config, moments)
        if not features.fresh:
            progress.reused("features")
    with progress.stage("checks"):
        checks = build_checks(place, stored, plan.config, moments)
        if not checks.fresh:
            progress.reused("checks")
    return Prepared(stored, moments, features, checks)


def learn_all(place: Workspace, plan: Plan, prepared: Prepared, progress: Progress) -> Published:
    """Search, fit, calibrate and bundle; published under the run's key, recognised if there."""
    key = plan.learn_key(prepared.features)
    root = place.store / "runs" / plan.config.name

    def write(folder: Path) -> dict[str, Any]:
        with progress.stage("labels"):
            splits = _splits(plan, prepared)
        with progress.stage("search"):
            part, trials = tune(
                splits, plan.config.model, plan.config.search, plan.config.seed,
                place.store / "studies" / f"{key}.db",
                lambda done, total: progress.step(done, total, "trial"),
            )  # fmt: skip
            trials.to_csv(folder / "search.csv", index=False)
        with progress.stage("fit"):
            baselines = plan.config.baselines
            parts = {CANDIDATE: part} | dict(zip(baseline_names(baselines), baselines, strict=True))
            total, done = len(parts) * (len(prepared.moments.folds) + 1), 0

            def report() -> None:
                nonlocal done
                done += 1
                progress.step(done, total, "block")

            answers = {
                name: learn(splits, p, plan.config.calibrate, plan.config.seed, report)
                for name, p in parts.items()
            }
            return write_learned(
                folder,
                splits,
                answers,
                _answer(plan, prepared, splits, part, answers, key),
                plan.config.seed,
                place.keys,
            )

    published = publish(root, key, write)
    if not published.fresh:
        for name in ("labels", "search", "fit"):
            with progress.stage(name):
                progress.reused(name)
    (place.store / "studies" / f"{key}.db").unlink(missing_ok=True)
    return published


def _splits(plan: Plan, prepared: Prepared) -> Splits:
    features = read_features(prepared.features.folder).to_pandas()
    constant = [
        n
        for n in features.columns
        if n not in (c.CUSTOMER, c.CUTOFF) and features[n].nunique(dropna=False) < 2
    ]
    kept = features.drop(columns=constant)
    schema = [k for k in read_schema(prepared.features.folder) if k.name in kept]
    return split(
        prepared.stored, kept, plan.task, prepared.moments, schema, plan.config.sample
    )  # fmt: skip


def _answer(
    plan: Plan,
    prepared: Prepared,
    splits: Splits,
    part: Part,
    answers: dict[str, Any],
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
        cutoff=f"{prepared.moments.test:%Y-%m-%d}",
        horizon_days=plan.task.horizon_days,
        source=plan.source.name,
        currency=plan.source.currency,
        run_key=key,
    )


def dry_run(place: Workspace, plan: Plan) -> list[str]:
    """What a run would do and what of it is done, as far as can be told without doing it."""
    config = plan.config
    if plan.source.simulate is not None:
        lines = [
            f"simulate {plan.source.simulate.customers} customers as source {plan.source.name}, "
            "unless that is done"
        ]
    else:
        files = find_files(plan.source, place.data)
        done = (place.keys / KEY_FILE).is_file() and (  # asking for a key would make one
            place.store
            / "tables"
            / plan.source.name
            / tables_key(plan.source, files, customer_key(place.keys))
        ).is_dir()
        lines = [f"read {path}" for path in raw_paths(files)]
        lines.append(f"tables of {plan.source.name}: {'already done' if done else 'to be built'}")
    return [
        *lines,
        f"features {', '.join(p.use for p in config.features)} "
        f"at {config.cutoffs.count} teaching cutoffs and the test cutoff",
        f"search: {config.search.trials} trials of {config.model.use} by {config.search.metric}",
        f"fit {config.model.use} beside {', '.join(p.use for p in config.baselines)}, "
        "calibrate, judge",
        f"register {config.name} as challenger with its review pack in {place.registry}",
    ]


def resolved_yaml(plan: Plan) -> str:
    """The config with every default spelled out, as the run key sees it."""
    import yaml

    return yaml.safe_dump(plan.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _spelled(config: PipelineConfig) -> PipelineConfig:
    """The config with the defaults of its parts: written out or not, it is the same run."""

    def full(home: str, part: Part) -> Part:
        spelled = resolve(home, part).config.model_dump(mode="json")
        return part.model_copy(update={"config": spelled})  # what else a part says stays

    return config.model_copy(
        update={
            "task": full(TASKS, config.task),
            "model": full(MODELS, config.model),
            "baselines": tuple(full(MODELS, part) for part in config.baselines),
            "features": tuple(full(SETS, part) for part in config.features),
        }
    )
