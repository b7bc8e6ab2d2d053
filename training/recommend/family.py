"""The family of recommendations: candidates by makers, order by rankers, judged by what follows."""

from pathlib import Path
from typing import Any

from features.progress import Progress
from features.settings import Workspace
from features.store import Published, publish
from training.bundle import Loaded
from training.gates import check_gates
from training.pipeline import Prepared, spelled
from training.recommend.config import ListsConfig, ListsPlan
from training.recommend.evaluate import METRICS, UNDIRECTED
from training.recommend.learn import blocks_of, chosen, fitted, read_cutoffs, write_learned
from training.recommend.makers import HOME
from training.recommend.pack import write_pack
from training.recommend.shelf import named_makers


class ListsFamily:
    """Fit makers at each cutoff, choose and fit rankers, record lists; judge them by purchases."""

    config = ListsConfig
    stages = (("histories", 10.0), ("candidates", 60.0), ("choose", 90.0), ("fit", 60.0))

    def spelled(self, config: ListsConfig) -> ListsConfig:
        """The config with the defaults of makers and baselines written out."""
        return config.model_copy(
            update={
                "makers": tuple(spelled(HOME, part) for part in config.makers),
                "baselines": tuple(spelled(HOME, part) for part in config.baselines),
            }
        )

    def check(self, plan: ListsPlan) -> None:
        """Refuse makers that cannot be shipped, and gates on what is not measured."""
        named_makers(plan.config.makers)
        check_gates(plan.config.gates, METRICS, UNDIRECTED)

    def dry_run(self, plan: ListsPlan) -> list[str]:
        """What learning and judging would do."""
        config = plan.config
        return [
            f"candidates by {', '.join(p.use for p in config.makers)}, "
            f"{len(config.rankers)} ranker setting(s) tried on the last teaching cutoff",
            f"judge beside {', '.join(p.use for p in config.baselines)} on the test cutoff",
        ]

    def learn(
        self, place: Workspace, plan: ListsPlan, prepared: Prepared, progress: Progress
    ) -> Published:
        """Published under the run's key, recognised if there."""
        key = plan.learn_key(prepared.features)

        def write(folder: Path) -> dict[str, Any]:
            with progress.stage("histories"):
                seen = read_cutoffs(plan, prepared)
            with progress.stage("candidates"):
                blocks = blocks_of(plan, seen, lambda d, n: progress.step(d, n, "cutoff"))
            with progress.stage("choose"):
                best, trials = chosen(plan, blocks, lambda d, n: progress.step(d, n, "trial"))
            with progress.stage("fit"):
                made = fitted(plan, seen, blocks, best)
                return write_learned(
                    folder, plan, seen, blocks, made, trials, key, place.keys
                )  # fmt: skip

        published = publish(place.store / "runs" / plan.config.name, key, write)
        if not published.fresh:
            progress.recognised(name for name, _ in self.stages)
        return published

    def judge(
        self,
        place: Workspace,
        plan: ListsPlan,
        prepared: Prepared,
        learned: Published,
        champion: Loaded | None,
        folder: Path,
    ) -> dict[str, Any]:
        """The review pack: lists beside every baseline's on the same customers."""
        return write_pack(place, plan, prepared, learned, champion, folder)


FAMILY = ListsFamily()
