"""A whole run: learn, judge, register. Where pipeline, review pack, MLflow and record meet."""

import logging
from dataclasses import dataclass, replace
from typing import Any

from features.progress import Progress
from features.settings import Workspace
from features.store import Published
from training.bundle import Loaded
from training.mirror import mirror
from training.pack import build_pack
from training.pipeline import JUDGING, PREPARING, AnyPlan, Prepared, prepare
from training.record import Entry, Record, champion
from training.track import log_version
from training.versions import bundle_at, bundle_of, data_of

log = logging.getLogger("perennial")


@dataclass(frozen=True)
class Learned:
    """What a plan has learned, judged by nobody and registered nowhere."""

    plan: AnyPlan
    prepared: Prepared
    published: Published

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle's manifest."""
        return str(self.published.manifest["facts"]["digest"])

    def bundle(self, place: Workspace) -> Loaded:
        """The bundle, verified."""
        return bundle_at(place, self.published.folder / "bundle")

    def judged(
        self, place: Workspace, against: Loaded | None, its_data: dict[str, Any] | None = None
    ) -> Published:
        """The review pack, beside ``against`` as the champion and the account of its data."""
        prepared = replace(self.prepared, champion_data=its_data)
        return build_pack(place, self.plan, prepared, self.published, against)


@dataclass(frozen=True)
class Done:
    """What a run left behind."""

    version: int | None
    """Version in the registry; None = it was to be registered only if it passed its gates."""
    pack: Published


def stages(plan: AnyPlan) -> Progress:
    """The progress of a whole run of ``plan``."""
    return Progress(plan.config.name, (*PREPARING, *plan.family.stages, *JUDGING))


def learn(place: Workspace, plan: AnyPlan, progress: Progress) -> Learned:
    """From raw files to a bundle, made or recognised."""
    prepared = prepare(place, plan, progress)
    return Learned(plan, prepared, plan.family.learn(place, plan, prepared, progress))


def run(place: Workspace, plan: AnyPlan, *, only_passed: bool = False) -> Done:
    """Run a pipeline from raw files to a registered version.

    Parameters
    ----------
    only_passed
        Register a new version only if all its gates passed, the champion's among them.
    """
    progress = stages(plan)
    learned = learn(place, plan, progress)
    entries = Record(place).entries(plan.config.name)
    with progress.stage("judge"):
        opponent = _opponent(entries, learned.digest)
        against = bundle_of(place, opponent) if opponent else None
        pack = learned.judged(place, against, data_of(place, opponent) if opponent else None)
        if not pack.fresh:
            progress.reused("review pack")
    known = {e.evidence["pack_key"]: e.version for e in entries if e.event == "registered"}
    version = known.get(pack.manifest["key"])
    if version is None and only_passed and not pack.manifest["facts"]["gates_passed"]:
        return Done(None, pack)
    with progress.stage("register"):
        if version is None:
            version = log_version(
                place, plan, learned.prepared, learned.published, pack, progress.durations
            )
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
