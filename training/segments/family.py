"""The family of segmentations: chosen by evidence, learned without outcome, judged by what came."""

from pathlib import Path
from typing import Any

from features.errors import ConfigError
from features.progress import Progress
from features.settings import Workspace
from features.store import Published, publish
from training.bundle import Loaded
from training.gates import check_gates
from training.pipeline import Prepared
from training.segments.choose import check_ways, searched
from training.segments.config import SegmentsConfig, SegmentsPlan
from training.segments.inputs import read_splits
from training.segments.judge import METRICS, UNDIRECTED, WITHOUT_CHAMPION
from training.segments.learned import chosen, write_learned
from training.segments.lineage import lineage
from training.segments.pack import write_pack
from training.segments.trials import Trials


class SegmentsFamily:
    """Choose a way, learn it, name its segments; judge them beside plain rules and k-means."""

    config = SegmentsConfig
    stages = (("spend", 4.0), ("choose", 60.0), ("learn", 20.0))

    def spelled(self, config: SegmentsConfig) -> SegmentsConfig:
        """As written: what a way leaves open is chosen by the study."""
        return config

    def check(self, plan: SegmentsPlan) -> None:
        """Refuse ways, columns and gates that do not fit together."""
        config = plan.config
        check_ways(config.ways, config.columns)
        check_gates(config.gates, METRICS, UNDIRECTED)
        asked = [n for n in WITHOUT_CHAMPION if n in config.gates]
        held = [n for n in asked if config.gates[n].champion_margin is not None]
        if held:
            raise ConfigError(
                f"gates: {held} are not measured of a champion; give min or beats_baseline"
            )

    def dry_run(self, plan: SegmentsPlan) -> list[str]:
        """The study and what it chooses from."""
        config = plan.config
        open_ = [part.use for part in config.ways if any(searched(part))]
        return [
            f"choose among {', '.join(p.use for p in config.ways)} in {config.choose.trials} "
            f"trials (columns or number of {', '.join(open_) or 'none'} are searched)",
            f"learn it, {config.refits} refits for stability, name the segments, judge",
        ]

    def learn(
        self, place: Workspace, plan: SegmentsPlan, prepared: Prepared, progress: Progress
    ) -> Published:
        """Published under the run's key, recognised if there."""
        before = lineage(place, plan, plan.learn_key(prepared.features))
        kept = Trials(place.store / "studies" / f"{before.inputs}.jsonl")

        def write(folder: Path) -> dict[str, Any]:
            with progress.stage("spend"):
                splits = read_splits(plan, prepared)
            with progress.stage("choose"):
                part, trials = chosen(
                    plan, splits, kept, lambda done, total: progress.step(done, total, "trial")
                )
            with progress.stage("learn"):
                return write_learned(folder, plan, splits, part, trials, before, place.keys)

        published = publish(place.store / "runs" / plan.config.name, before.key, write)
        kept.forget()
        if not published.fresh:
            progress.recognised(name for name, _ in self.stages)
        return published

    def judge(
        self,
        place: Workspace,
        plan: SegmentsPlan,
        prepared: Prepared,
        learned: Published,
        champion: Loaded | None,
        folder: Path,
    ) -> dict[str, Any]:
        """The review pack: segments beside plain rules and k-means on the same customers."""
        return write_pack(place, plan, prepared, learned, champion, folder)


FAMILY = SegmentsFamily()
