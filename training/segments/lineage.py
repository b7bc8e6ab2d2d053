"""The version that a new one follows: segments that are alike keep letter and name."""

from dataclasses import dataclass
from pathlib import Path

from features.settings import Workspace, fingerprint
from features.store import Published, published
from training import bundle as common
from training.keys import verifying_key
from training.record import Record, champion
from training.segments.bundle import SegmentsBundle
from training.segments.config import Named, SegmentsPlan


@dataclass(frozen=True)
class Lineage:
    """What a version is learned from, and the version that it follows."""

    inputs: str
    """Fingerprint of all inputs but the version followed."""
    follows: str
    """Digest of that version; empty = none."""
    names: tuple[Named, ...]
    """Names to be kept: those of the YAML, then those of the version whose letters are left."""

    @property
    def key(self) -> str:
        """Fingerprint of both."""
        return fingerprint(self.inputs, self.follows) if self.follows else self.inputs


def lineage(place: Workspace, plan: SegmentsPlan, inputs: str) -> Lineage:
    """Follow the champion.

    A champion that was learned from the same inputs is followed by nobody: what it followed itself
    is followed again, so that the same run is recognised after its own approval.

    Parameters
    ----------
    inputs
        Fingerprint of everything else that is learned from.
    """
    made = _followed(place, plan, inputs)
    said = {named.id for named in plan.config.names}
    before = [named for named in names_of(made) if named.id not in said] if made else []
    return Lineage(inputs, made.digest if made else "", (*plan.config.names, *before))


def _followed(place: Workspace, plan: SegmentsPlan, inputs: str) -> SegmentsBundle | None:
    root = place.store / "runs" / plan.config.name
    standing = champion(Record(place).entries(plan.config.name))
    run = _run(root, standing.digest) if standing else None
    if run is not None and run.manifest["facts"]["inputs"] == inputs:
        run = _run(root, run.manifest["facts"]["follows"])
    if run is None:
        return None
    made = common.load(run.folder / "bundle", verifying_key(place.keys))
    if not isinstance(made, SegmentsBundle) or made.answer.source != plan.source.name:
        return None
    return made


def names_of(made: SegmentsBundle) -> tuple[Named, ...]:
    """The segments of a version as they are to be known again, by columns of numbers.

    Empty ones are left out, and those that only words tell apart: rules name them anew.
    """
    return tuple(
        Named(
            id=segment.id,
            name=segment.name,
            like={n: round(v, 4) for n, v in segment.medians.items() if n in made.columns},
        )
        for segment in made.answer.segments
        if segment.customers and set(segment.medians) & set(made.columns)
    )


def _run(root: Path, digest: str) -> Published | None:
    """The run below ``root`` that made the bundle, if it is still there."""
    keys = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    runs = (published(root, key) for key in keys if not key.startswith("."))
    return next((r for r in runs if r and r.manifest["facts"]["digest"] == digest), None)
