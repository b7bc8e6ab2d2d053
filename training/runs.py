"""A whole run: learn, judge, register. Where pipeline, review pack, MLflow and record meet."""

import logging
from dataclasses import dataclass

from features.progress import Progress
from features.settings import Workspace
from features.store import Published
from training.pack import build_pack
from training.pipeline import JUDGING, PREPARING, AnyPlan, prepare
from training.record import Entry, Record, champion
from training.review import bundle_of, mirror
from training.track import log_version

log = logging.getLogger("perennial")


@dataclass(frozen=True)
class Done:
    """What a run left behind."""

    version: int
    pack: Published


def run(place: Workspace, plan: AnyPlan) -> Done:
    """Run a pipeline from raw files to a registered version."""
    family = plan.family
    progress = Progress(plan.config.name, (*PREPARING, *family.stages, *JUDGING))
    prepared = prepare(place, plan, progress)
    learned = family.learn(place, plan, prepared, progress)
    entries = Record(place.registry).entries(plan.config.name)
    with progress.stage("judge"):
        opponent = _opponent(entries, learned.manifest["facts"]["digest"])
        pack = build_pack(
            place, plan, prepared, learned, bundle_of(place, opponent) if opponent else None
        )
        if not pack.fresh:
            progress.reused("review pack")
    with progress.stage("register"):
        known = {e.evidence["pack_key"]: e.version for e in entries if e.event == "registered"}
        version = known.get(pack.manifest["key"])
        if version is None:
            version = log_version(place, plan, prepared, learned, pack, progress.durations)
            for line in mirror(place, plan.config.name):
                log.warning("MLflow differed from the record and was repaired: %s", line)
        else:
            progress.reused(f"version {version}")
    return Done(version, pack)


def _opponent(entries: list[Entry], digest: str) -> Entry | None:
    """The champion; for the champion's own bundle, what it was judged against when it was new."""
    standing = champion(entries)
    if standing is None or standing.digest != digest:
        return standing
    registered = [e for e in entries if e.event == "registered"]
    against = next(
        e.evidence["against_champion"] for e in registered if e.version == standing.version
    )
    return next((e for e in reversed(registered) if e.digest == against), None)
