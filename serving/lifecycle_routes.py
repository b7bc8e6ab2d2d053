"""How a lifecycle is served: stage, state with probability, what follows, and what moved it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import Request, Response
from pydantic import BaseModel, Field

from features.schema import FeatureColumn
from serving.base import JSON, Route
from serving.endpoints import request_id
from serving.lookup import Lookup
from serving.release import Release
from serving.rows import MAX_ROWS, STRICT, RowReader
from training.contract import Floats
from training.lifecycle.bundle import LifecycleBundle, State

TOP_REASONS = 3
SAYS = (
    "base + contributions = margin, the log-odds of the state against the runner-up: each "
    "observation by how much it moved them when it became known, the oldest first; of the last "
    "period this is its log-likelihood ratio"
)
Probability = Annotated[float, Field(ge=0, le=1)]


class _Head(BaseModel):
    model_config = STRICT

    model: str
    version: int
    cutoff: str
    """Learned from what had happened by then."""
    request_id: str


class Placed(BaseModel):
    """Where one customer is."""

    model_config = STRICT

    stage: str
    """By rules."""
    periods_in_stage: int
    """As far as the row goes back."""
    state: str
    """Letter of the likeliest learned state; A is the most active."""
    state_name: str
    probability: Probability
    """Of that state, given all periods of the row."""
    margin: Annotated[float, Field(ge=0)]
    """Log-odds of the state against the runner-up."""
    runner_up: str
    buying: Probability
    """Probability of an order in the next period."""
    next: dict[str, Probability]
    """Probability of each state in the next period."""


class Predicted(_Head):
    """The reply of ``/predict``."""

    predictions: list[Placed]


class Contribution(BaseModel):
    """What one observation added to the log-odds."""

    model_config = STRICT

    feature: str
    value: float | None
    """As counted; null = not observed, which says nothing."""
    contribution: float
    text: str


class PlacedWhy(Placed):
    """The same with what moved it."""

    base: float
    """Log-odds before anything was observed."""
    sum_check: float
    """|base + contributions - margin|."""
    reasons: list[str]
    """The largest contributions in words."""
    contributions: list[Contribution]
    """All columns, largest first."""


class Explained(_Head):
    """The reply of ``/explain``."""

    space: str
    explains: str
    explanations: list[PlacedWhy]


class Said(BaseModel):
    """A stage by rules."""

    model_config = STRICT

    name: str
    meaning: str


class LifecycleReply(_Head):
    """What is served, what its stages and states are, and who approved it."""

    digest: str
    question: str
    answers: str
    output: str
    space: str
    period_days: int
    source: str
    currency: str
    reviewer: str
    approved_at: str
    max_rows: int
    columns: list[FeatureColumn]
    stages: list[Said]
    hidden_stages: dict[str, str]
    """Stages that the source cannot show, and why."""
    states: list[State]


def routes(bundle: LifecycleBundle, release: Release, lookup: Lookup | None) -> list[Route]:
    """How a lifecycle is served."""
    serves = LifecycleEndpoints(bundle, release, lookup)
    schema, example = serves.reader.schema(), serves.reader.example()
    return [
        Route("/predict", serves.predict, "Stages of 1 to 1,000 customers, in the order of rows",
              Predicted, schema, example),
        Route("/explain", serves.explain, "The same with what each observation added",
              Explained, schema, example),
        Route("/model", serves.model, "What is served, and who approved it", LifecycleReply),
    ]  # fmt: skip


class LifecycleEndpoints:
    """The handlers over one released lifecycle."""

    def __init__(
        self, bundle: LifecycleBundle, release: Release, lookup: Lookup | None = None
    ) -> None:
        said, self.bundle = bundle.answer, bundle
        self.reader = RowReader(said.columns, bundle.recorded_answers["X"][0], lookup)
        self.head = {"model": release.model, "version": release.version, "cutoff": said.cutoff}
        self.facts = {
            **self.head, "digest": release.digest, "question": said.question,
            "answers": said.kind, "output": said.output, "space": said.space,
            "period_days": said.horizon_days, "source": said.source, "currency": said.currency,
            "reviewer": release.reviewer, "approved_at": release.approved_at,
            "max_rows": MAX_ROWS, "columns": [column.model_dump() for column in said.columns],
            "stages": [{"name": s.name, "meaning": s.meaning} for s in said.stages],
            "hidden_stages": said.hidden, "states": [state.model_dump() for state in said.states],
        }  # fmt: skip
        # Explanations cost many times an answer: a thread of its own bounds them.
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explain")

    async def predict(self, request: Request) -> Response:
        """Stage, state and what follows, of each row."""
        asked = await self.reader.asked(request)
        return self._reply(request, predictions=self.bundle.told(asked.X))

    async def explain(self, request: Request) -> Response:
        """What each observation added to the log-odds of each row's state."""
        asked = await self.reader.asked(request)
        loop = asyncio.get_running_loop()
        told = await loop.run_in_executor(self.pool, self.explained, asked.X)
        space = self.bundle.answer.space
        return self._reply(request, space=space, explains=SAYS, explanations=told)

    async def model(self, request: Request) -> Response:
        """What is served, and who approved it."""
        return self._reply(request, **self.facts)

    def explained(self, X: Floats) -> list[dict[str, Any]]:
        """The explanations of a request's rows."""
        bundle = self.bundle
        told, found = bundle.told(X), bundle.explain(X)
        for i, answer in enumerate(told):
            lines = [
                {"feature": bundle.columns[j],
                 "value": None if np.isnan(X[i, j]) else float(X[i, j]),
                 "contribution": float(found.contributions[i, j]), "text": text}
                for j, text in bundle.reasons(found, i)
            ]  # fmt: skip
            answer |= {
                "base": float(found.base[i]),
                "sum_check": abs(float(found.scores[i]) - answer["margin"]),
                "reasons": [k["text"] for k in lines[:TOP_REASONS] if k["contribution"] != 0.0],
                "contributions": lines,
            }
        return told

    def _reply(self, request: Request, **said: Any) -> Response:
        body = {**self.head, "request_id": request_id(request), **said}
        return Response(orjson.dumps(body), media_type=JSON)
