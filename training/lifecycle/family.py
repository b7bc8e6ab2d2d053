"""The family of lifecycles: stages by rules, states learned beside them, judged by what came."""

from pathlib import Path
from typing import Any

from features.errors import ConfigError
from features.progress import Progress
from features.settings import Workspace, resolve
from features.snapshot import SETS, read_features, read_schema
from features.store import Published, publish
from training.bundle import Loaded
from training.gates import check_gates
from training.lifecycle.actions import write_actions
from training.lifecycle.config import LifecycleConfig, LifecyclePlan
from training.lifecycle.conversion import write_conversion
from training.lifecycle.judge import METRICS, UNDIRECTED
from training.lifecycle.learned import choose, sight, write_learned
from training.lifecycle.pack import write_pack
from training.pipeline import Prepared
from training.splits import split

PERIODS = "periods.Periods"


class LifecycleFamily:
    """Choose the number of states, learn the chain; judge it beside the stages by rules."""

    config = LifecycleConfig
    stages = (("sequences", 5.0), ("choose", 20.0), ("learn", 10.0), ("actions", 20.0))

    def spelled(self, config: LifecycleConfig) -> LifecycleConfig:
        """As written: nothing is left open."""
        return config

    def check(self, plan: LifecyclePlan) -> None:
        """Refuse periods of another length than the task's, and gates on what is not measured."""
        check_gates(plan.config.gates, METRICS, UNDIRECTED)
        days = plan.task.horizon_days
        found = [resolve(SETS, part).config.days for part in plan.config.features
                 if part.use == PERIODS]  # fmt: skip
        if found != [days]:
            raise ConfigError(
                f"{plan.path}: the task's periods have {days} days, so features need one "
                f"{PERIODS} with days: {days}; found {found or 'none'}"
            )
        held = [n for n, gate in plan.config.gates.items() if gate.champion_margin is not None]
        if "loglik" in held:
            raise ConfigError(
                "gates: loglik is not measured of a champion, whose levels may differ; "
                "give min or beats_baseline"
            )

    def dry_run(self, plan: LifecyclePlan) -> list[str]:
        """The choice, and what is judged."""
        low, high = plan.config.chain.states
        return [
            f"stages by {len(plan.config.stages)} rules; {low} to {high} states tried on "
            f"{', '.join(plan.config.chain.observe)}",
            "learn the chain and the next likely action, judge beside the rules",
        ]

    def learn(
        self, place: Workspace, plan: LifecyclePlan, prepared: Prepared, progress: Progress
    ) -> Published:
        """Published under the run's key, recognised if there."""
        key = plan.learn_key(prepared.features)

        def write(folder: Path) -> dict[str, Any]:
            with progress.stage("sequences"):
                schema = read_schema(prepared.features.folder)
                splits = split(
                    prepared.stored, read_features(prepared.features.folder).to_pandas(),
                    plan.task.spend, prepared.moments, schema, plan.config.sample,
                )  # fmt: skip
                seen = sight(plan, schema, splits.rows.at(splits.moments.teaching[-1]).X)
            with progress.stage("choose"):
                trials = choose(
                    plan, splits, seen, lambda done, total: progress.step(done, total, "trial")
                )
            with progress.stage("learn"):
                facts = write_learned(folder, plan, splits, seen, trials, key, place.keys)
            with progress.stage("actions"):
                return facts | {
                    "actions": write_actions(folder, plan, prepared),
                    "conversion": write_conversion(folder, plan, prepared),
                }

        published = publish(place.store / "runs" / plan.config.name, key, write)
        if not published.fresh:
            progress.recognised(name for name, _ in self.stages)
        return published

    def judge(
        self,
        place: Workspace,
        plan: LifecyclePlan,
        prepared: Prepared,
        learned: Published,
        champion: Loaded | None,
        folder: Path,
    ) -> dict[str, Any]:
        """The review pack: states beside the stages by rules on the same customers."""
        return write_pack(place, plan, prepared, learned, champion, folder)


FAMILY = LifecycleFamily()
