"""How a segmentation is served: segment, confidence and runner-up; what keeps and what moves."""

from typing import Annotated, Any, cast

from pydantic import BaseModel, Field

from serving.base import Route
from serving.lookup import Lookup
from serving.release import Release
from serving.rows import STRICT
from serving.told import Head, Probability, ServedReply, ToldEndpoints, Why
from training.contract import Floats
from training.segments.bundle import Segment, SegmentsBundle
from training.sentences import Language

SAYS = (
    "base + contributions = margin, in squared distance: above 0 a column puts the customer nearer "
    "to the own segment than to the runner-up, below 0 it speaks for the runner-up"
)


class Assignment(BaseModel):
    """Where one customer belongs."""

    model_config = STRICT

    segment: str
    """Letter of the segment; it stays from version to version."""
    name: str
    confidence: Probability
    """Share of segmentations learned anew from other customers that agree on such a margin."""
    margin: Annotated[float, Field(ge=0)]
    """Squared distance to the runner-up less that to the own segment; 0 = on the border."""
    runner_up: str
    """Letter of the segment that is next."""
    runner_up_name: str


class Predicted(Head):
    """The reply of ``/predict``."""

    predictions: list[Assignment]


class LeastChange(BaseModel):
    """The least change of one column that would move the customer, all else equal."""

    model_config = STRICT

    feature: str
    value: float | None
    becomes: float
    segment: str
    name: str
    text: str


class Explanation(Assignment, Why):
    """What keeps one customer in the segment."""

    change: LeastChange | None
    """Null where no single column moves the customer."""


class Explained(Head):
    """The reply of ``/explain``."""

    space: str
    explains: str
    explanations: list[Explanation]


class SegmentsReply(ServedReply):
    """Which segmentation is served, what its segments are and who approved it."""

    kind: str
    """The way to segment."""
    nature: str
    """Rules, clusters, or both."""
    horizon_days: int
    segments: list[Segment]


def routes(bundle: SegmentsBundle, release: Release, lookup: Lookup | None) -> list[Route]:
    """How a segmentation is served."""
    answer = bundle.answer
    facts = {
        "kind": answer.way.use, "nature": answer.nature, "horizon_days": answer.horizon_days,
        "segments": [segment.model_dump() for segment in answer.segments],
    }  # fmt: skip
    serves = SegmentEndpoints(bundle, release, lookup, bundle.sample[0][0], SAYS, facts)
    return serves.routes("Segments", Predicted, Explained, SegmentsReply)


class SegmentEndpoints(ToldEndpoints):
    """Tells the least change that would move a customer, too."""

    def beside(self, X: Floats, language: Language) -> list[dict[str, Any]]:
        """The least change of one column that moves each row."""
        bundle = cast(SegmentsBundle, self.bundle)
        changes = bundle.segmentation.least_changes(X)
        segments = bundle.answer.segments
        return [
            {"change": None}
            if change is None
            else {
                "change": {
                    "feature": change.column, "value": change.before, "becomes": change.after,
                    "segment": segments[change.segment].id, "name": segments[change.segment].name,
                    "text": bundle.change_said(change, language),
                }
            }
            for change in changes
        ]  # fmt: skip
