"""The supervised family: a yes/no question or an amount, learned from rows with labels."""

from pathlib import Path
from typing import Any

from features.compute import declared
from features.cutoffs import Snapshots
from features.errors import ConfigError
from features.progress import Progress
from features.settings import Workspace, resolve
from features.snapshot import feature_sets
from features.store import Published
from training.bundle import MODELS, Loaded
from training.details import DETAILS, Details
from training.gates import MEASURED, check_gates
from training.metrics import OF_KIND
from training.model_part import ModelPart, built
from training.pipeline import Prepared, spelled
from training.repairs import misfits
from training.supervised import points
from training.supervised.config import SupervisedConfig, SupervisedPlan
from training.supervised.constraints import unheld
from training.supervised.fairness import put_aside
from training.supervised.pack import write_pack
from training.supervised.stages import STAGES, learn_all
from training.tune import check_space


class Supervised:
    """Search, fit beside baselines, calibrate; judge on the test cutoff's labels."""

    config = SupervisedConfig
    stages = STAGES

    def spelled(self, config: SupervisedConfig) -> SupervisedConfig:
        """The config with the defaults of model and baselines written out."""
        return config.model_copy(
            update={
                "model": _spelled(config.model),
                "baselines": tuple(_spelled(part) for part in config.baselines),
            }
        )

    def check(self, plan: SupervisedPlan) -> None:
        """Refuse models, spaces, gates and calibrations that are not for this kind of question."""
        config, kind = plan.config, plan.task.kind
        for part in (config.model, *config.baselines):
            model = built(part)
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
        _check_repairs(plan)
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
            f"fit {config.model.named} beside {beside}, calibrate, judge",
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


def _spelled(part: ModelPart) -> ModelPart:
    beside = tuple(spelled(MODELS, other) for other in part.averaged_with)
    return spelled(MODELS, part).model_copy(update={"averaged_with": beside})


def _check_repairs(plan: SupervisedPlan) -> None:
    """Refuse repairs of columns that there are not, or that do not suit them."""
    parts = (plan.config.model, *plan.config.baselines)
    columns = put_aside(declared(feature_sets(plan.config)), plan.config.audit)
    problems = [
        problem for part in parts for problem in (*misfits(part, columns), *unheld(part, columns))
    ]
    told = f"{plan.config.task.use} tells more than one number"
    if plan.task.details and any(part.repairs for part in parts):
        problems.append(f"{told}, by models that read rows as they are: leave repairs out")
    if plan.task.details and any(part.averaged_with for part in parts):
        problems.append(f"{told}, and a mean of log-odds one: leave averaged_with out")
    if problems:
        raise ConfigError.listing(f"{plan.path}: repairs that do not fit", problems)


FAMILY = Supervised()
