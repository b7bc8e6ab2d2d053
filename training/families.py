"""Families of questions: how answers of a kind are learned and judged, behind one protocol."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from features.progress import Progress
from features.settings import Workspace
from features.store import Published
from training.bundle import Loaded
from training.contract import Kind

if TYPE_CHECKING:
    from training.pipeline import Pipeline, Plan, Prepared

FAMILIES: dict[Kind, str] = {
    "event": "training.supervised.family",
    "amount": "training.supervised.family",
    "segments": "training.segments.family",
    "lists": "training.recommend.family",
    "lifecycle": "training.lifecycle.family",
}
"""Kind of a task -> module that holds its ``FAMILY``."""


class Family(Protocol):
    """Learns and judges answers of some kinds; a pipeline YAML's task selects it."""

    config: "type[Pipeline]"
    """What the pipeline YAML says."""
    stages: tuple[tuple[str, float], ...]
    """Stages of ``learn`` with usual seconds, for the time left."""

    def spelled(self, config: Any) -> Any:
        """The config with the defaults of the family's own parts written out."""
        ...

    def check(self, plan: "Plan[Any, Any]") -> None:
        """Refuse what does not fit together, before data are read; a :class:`ConfigError`."""
        ...

    def dry_run(self, plan: "Plan[Any, Any]") -> list[str]:
        """What learning and judging would do."""
        ...

    def learn(
        self, place: Workspace, plan: "Plan[Any, Any]", prepared: "Prepared", progress: Progress
    ) -> Published:
        """Publish ``bundle/`` and all that judging needs, or recognise it.

        The facts of the manifest have ``digest`` (of the bundle), ``test_rows``, and ``tags`` and
        ``params`` for the tracker.
        """
        ...

    def judge(
        self,
        place: Workspace,
        plan: "Plan[Any, Any]",
        prepared: "Prepared",
        learned: Published,
        champion: Loaded | None,
        folder: Path,
    ) -> dict[str, Any]:
        """Judge what was learned and write its review pack into ``folder``; the pack's facts."""
        ...


def family(kind: Kind) -> Family:
    """The family that answers questions of ``kind``."""
    found: Family = import_module(FAMILIES[kind]).FAMILY
    return found
