"""What all pipelines share: the YAML, the checked plan, and the inputs made from raw files."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import yaml
from pydantic import Field

from features.cutoffs import Moments, Snapshots
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
from features.snapshot import SETS, FeaturePlan, build_features
from features.sources import Source, find_files, load_source, raw_paths
from features.store import Published
from features.tables import Stored, build_tables, tables_key
from training.checks import check_horizon, check_question, check_sets
from training.contract import AnyTask
from training.families import Family, family
from training.gates import Gate
from training.suggestions import Suggestion

TASKS = "training.tasks"
NOT_LEARNED = {"card", "gates", "bootstrap", "trials_as", "suggest", "serve"}
"""Parts of a YAML that a learned answer does not depend on."""
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


class Pipeline(FeaturePlan):
    """What every pipeline YAML says; each family adds how its answers are learned."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the registered model."""
    task: Part
    gates: dict[str, Gate]
    bootstrap: int = Field(default=500, ge=20, le=10_000)
    """Draws over customers behind each interval."""
    seed: int = 7
    card: CardConfig
    trials_as: Literal["table", "runs"] = "table"
    """How MLflow shows the trials of a search: a table of the run, or a child run each."""
    suggest: tuple[Suggestion, ...] = ()
    """What to do about the customers of an audience: the first that fits."""
    serve: str | None = None
    """Service file below ``serving``; None = not served."""


P = TypeVar("P", bound=Part)
C = TypeVar("C", bound=Pipeline, covariant=True)
T = TypeVar("T", bound=AnyTask, covariant=True)


@dataclass(frozen=True)
class Plan(Generic[C, T]):
    """A checked config with its parts, before any data are read."""

    path: Path
    config: C
    task: T
    source: Source

    @property
    def family(self) -> Family:
        """Who learns and judges answers of this kind."""
        return family(self.task.kind)

    @property
    def held_against(self) -> str | None:
        """Model whose champion the answers are held against, if the question names one."""
        return getattr(self.task.config, "churn_model", None)

    def learn_key(self, features: Published) -> str:
        """Fingerprint of everything that the learned answer depends on."""
        learned = self.config.model_dump(mode="json", exclude={*NOT_LEARNED, "engine"})
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


AnyPlan = Plan[Pipeline, AnyTask]


class _Asks(Strict, extra="ignore"):
    """The one line of a pipeline YAML that tells how to read the others."""

    task: Part


def load_plan(place: Workspace, path: Path, assignments: Sequence[str] = ()) -> AnyPlan:
    """Read and check a pipeline YAML.

    Every part is built once, so that mistakes show before data are read.

    Raises
    ------
    ConfigError
        If a key, a name or a combination is wrong.
    """
    said = override(load_yaml(path), assignments)
    task: AnyTask = resolve(TASKS, validated(_Asks, said, str(path)).task)
    chosen = family(task.kind)
    written = validated(chosen.config, said, str(path))
    config = chosen.spelled(
        written.model_copy(
            update={
                "task": spelled(TASKS, written.task),
                "features": tuple(spelled(SETS, part) for part in written.features),
            }
        )
    )
    if isinstance(config.cutoffs, Snapshots) and task.kind not in ("event", "amount"):
        raise ConfigError(
            f"{path}: cutoffs.snapshots: a question of kind {task.kind!r} needs a clock; give "
            "test, latest and what else rolling cutoffs take"
        )
    source = load_source(place, config.data, config.source)
    check_question(task, source)
    check_sets(config, source)
    plan = Plan(path, config, task, source)
    chosen.check(plan)
    return plan


def spelled(home: str, part: P) -> P:
    """The part with its defaults: written out or not, it is the same run."""
    config = resolve(home, part).config.model_dump(mode="json")
    return part.model_copy(update={"config": config})  # what else a part says stays


@dataclass(frozen=True)
class Prepared:
    """Published inputs of a run."""

    stored: Stored
    moments: Moments
    features: Published
    checks: Published
    """What the leakage kit found of the features."""
    champion_data: dict[str, Any] | None = None
    """The account of the data that the champion was made of (``data.json`` of its pack)."""


PREPARING = (("tables", 15.0), ("features", 8.0), ("checks", 8.0))
"""Stages before those of the family, with usual seconds."""
JUDGING = (("judge", 25.0), ("register", 15.0))
"""Stages after them."""


def prepare(place: Workspace, plan: AnyPlan, progress: Progress) -> Prepared:
    """Tables, features and what the leakage kit finds of them, made or recognised."""
    with progress.stage("tables"):
        stored = build_tables(place, plan.source).consenting(plan.config.consent)
        if not stored.published.fresh:
            progress.reused("tables")
    with progress.stage("features"):
        check_horizon(plan.task, stored.first, plan.config.cutoffs.known_until(stored.end))
        moments = plan.config.cutoffs.resolved(stored.first, stored.end)
        features = build_features(place, stored, plan.config, moments)
        if not features.fresh:
            progress.reused("features")
    with progress.stage("checks"):
        checks = build_checks(place, stored, plan.config, moments)
        if not checks.fresh:
            progress.reused("checks")
    return Prepared(stored, moments, features, checks)


def dry_run(place: Workspace, plan: AnyPlan) -> list[str]:
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
        f"features {', '.join(p.use for p in config.features)} at {config.cutoffs.said}",
        *plan.family.dry_run(plan),
        f"register {config.name} as challenger with its review pack in {place.registry}",
    ]


def resolved_yaml(plan: AnyPlan) -> str:
    """The config with every default spelled out, as the run key sees it."""
    return yaml.safe_dump(plan.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
