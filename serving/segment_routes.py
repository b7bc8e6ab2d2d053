"""How a segmentation is served: segment, confidence and runner-up; what keeps and what moves."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, Field

from features.schema import FeatureColumn
from serving.base import JSON, Route
from serving.lookup import Lookup
from serving.release import Release
from serving.rows import MAX_ROWS, STRICT, Asked, RowReader
from training.segments.bundle import Segment, SegmentsBundle
from training.segments.segmentation import Change
from training.segments.words import said

TOP_REASONS = 3
SAYS = (
    "base + contributions = margin, in squared distance: above 0 a column puts the customer nearer "
    "to the own segment than to the runner-up, below 0 it speaks for the runner-up"
)


class _Head(BaseModel):
    model_config = STRICT

    model: str
    version: int
    cutoff: str
    """The segmentation learned from what had happened by then."""
    request_id: str


class Assignment(BaseModel):
    """Where one customer belongs."""

    model_config = STRICT

    segment: str
    """Letter of the segment; it stays from version to version."""
    name: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    """Share of segmentations learned anew from other customers that agree on such a margin."""
    margin: Annotated[float, Field(ge=0)]
    """Squared distance to the runner-up less that to the own segment; 0 = on the border."""
    runner_up: str
    """Letter of the segment that is next."""
    runner_up_name: str


class Predicted(_Head):
    """The reply of ``/predict``."""

    predictions: list[Assignment]


class Contribution(BaseModel):
    """What one column adds to the margin."""

    model_config = STRICT

    feature: str
    value: float | None
    """As counted; null = missing, which counts as the median."""
    contribution: float
    text: str
    """The same in words."""


class LeastChange(BaseModel):
    """The least change of one column that would move the customer, all else equal."""

    model_config = STRICT

    feature: str
    value: float | None
    becomes: float
    segment: str
    name: str
    text: str


class Explanation(Assignment):
    """What keeps one customer in the segment."""

    base: float
    """What both segments' places say before any column; 0 for plain centres."""
    sum_check: float
    """|base + contributions - margin|."""
    reasons: list[str]
    """The largest contributions in words."""
    contributions: list[Contribution]
    """All columns, largest first."""
    change: LeastChange | None
    """Null where no single column moves the customer."""


class Explained(_Head):
    """The reply of ``/explain``."""

    space: str
    explains: str
    explanations: list[Explanation]


class SegmentsReply(_Head):
    """Which segmentation is served, what its segments are and who approved it."""

    digest: str
    question: str
    answers: str
    output: str
    space: str
    kind: str
    """The way to segment."""
    nature: str
    """Rules, clusters, or both."""
    horizon_days: int
    source: str
    currency: str
    reviewer: str
    approved_at: str
    max_rows: int
    columns: list[FeatureColumn]
    segments: list[Segment]


def routes(bundle: SegmentsBundle, release: Release, lookup: Lookup | None) -> list[Route]:
    """How a segmentation is served."""
    serves = SegmentEndpoints(bundle, release, lookup)
    schema, example = serves.reader.schema(), serves.reader.example()
    return [
        Route(
            "/predict",
            serves.predict,
            "Segments of 1 to 1,000 customers, in the order of the rows",
            Predicted,
            schema,
            example,
        ),
        Route(
            "/explain",
            serves.explain,
            "The same with what keeps each customer there, and the least change that moves",
            Explained,
            schema,
            example,
        ),
        Route("/model", serves.model, "What is served, and who approved it", SegmentsReply),
    ]


class SegmentEndpoints:
    """The handlers over one released segmentation."""

    def __init__(
        self, bundle: SegmentsBundle, release: Release, lookup: Lookup | None = None
    ) -> None:
        assert bundle.golden is not None, "a released bundle has golden rows"
        answer = bundle.answer
        self.bundle = bundle
        self.reader = RowReader(answer.columns, bundle.golden.X[0], lookup)
        self.head = {"model": release.model, "version": release.version, "cutoff": answer.cutoff}
        self.facts = {
            **self.head,
            "digest": release.digest,
            "question": answer.question,
            "answers": answer.kind,
            "output": answer.output,
            "space": answer.space,
            "kind": answer.way.use,
            "nature": answer.nature,
            "horizon_days": answer.horizon_days,
            "source": answer.source,
            "currency": answer.currency,
            "reviewer": release.reviewer,
            "approved_at": release.approved_at,
            "max_rows": MAX_ROWS,
            "columns": [column.model_dump() for column in answer.columns],
            "segments": [segment.model_dump() for segment in answer.segments],
        }
        # Looking for the least change costs many assignments: a thread of its own bounds it.
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explain")

    async def predict(self, request: Request) -> Response:
        """Segment, confidence and runner-up of each row."""
        asked = await self.reader.asked(request)
        return self._reply(request, predictions=self.bundle.told(asked.X))

    async def explain(self, request: Request) -> Response:
        """What keeps each row in its segment, and what would move it."""
        asked = await self.reader.asked(request)
        loop = asyncio.get_running_loop()
        told = await loop.run_in_executor(self.pool, self.explained, asked)
        space = self.bundle.answer.space
        return self._reply(request, space=space, explains=SAYS, explanations=told)

    async def model(self, request: Request) -> Response:
        """What is served, and who approved it."""
        return _json({**self.facts, "request_id": _request_id(request)})

    def explained(self, asked: Asked) -> list[dict[str, Any]]:
        """The explanations of a request's rows."""
        bundle, X = self.bundle, asked.X
        told, found = bundle.told(X), bundle.explain(X)
        changes = bundle.segmentation.least_changes(X)
        for i, answer in enumerate(told):
            lines = [
                {
                    "feature": bundle.columns[j], "value": float(X[i, j]),
                    "contribution": float(found.contributions[i, j]), "text": text,
                }
                for j, text in bundle.reasons(found, i)
            ]  # fmt: skip
            answer |= {
                "base": float(found.base[i]),
                "sum_check": abs(float(found.scores[i]) - answer["margin"]),
                "reasons": [k["text"] for k in lines[:TOP_REASONS] if k["contribution"] != 0.0],
                "contributions": lines,
                "change": self._change(changes[i]),
            }
        return told

    def _change(self, change: Change | None) -> dict[str, Any] | None:
        if change is None:
            return None
        answer = self.bundle.answer
        column = next(k for k in answer.columns if k.name == change.column)
        to = answer.segments[change.segment]
        now, then = (said(column, v, answer.currency) for v in (change.before, change.after))
        return {
            "feature": column.name, "value": change.before, "becomes": change.after,
            "segment": to.id, "name": to.name,
            "text": f"{column.meaning} at {then} instead of {now} would mean {to.id} ({to.name})",
        }  # fmt: skip

    def _reply(self, request: Request, **said: Any) -> Response:
        return _json({**self.head, "request_id": _request_id(request), **said})


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type=JSON)


def _request_id(request: Request) -> str:
    """The id that the guard gave to the request."""
    return str(request.scope.get("state", {}).get("request_id", ""))
