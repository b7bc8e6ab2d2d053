"""How answers that are no single number are served: where a customer is, and what speaks for it.

Segments and lifecycle share this; each says its own types, facts, and what stands beside.
"""

import asyncio
from typing import Annotated, Any, Protocol

import numpy as np
import orjson
from fastapi import Request, Response
from pydantic import BaseModel, Field

from features.schema import FeatureColumn
from serving import background
from serving.asking import language, request_id
from serving.base import JSON, Route
from serving.lookup import Lookup
from serving.release import Release
from serving.rows import MAX_ROWS, STRICT, Asked, RowReader
from serving.watch import Watch
from training import categories
from training.contract import Explanation, Floats
from training.sentences import Language

TOP_REASONS = 3
Probability = Annotated[float, Field(ge=0, le=1)]


class Head(BaseModel):
    """What every reply says."""

    model_config = STRICT

    model: str
    version: int
    cutoff: str
    """Learned from what had happened by then."""
    request_id: str


class Contribution(BaseModel):
    """What one column adds to the margin."""

    model_config = STRICT

    feature: str
    value: float | str | None
    """A number as counted, or a word; null = missing."""
    contribution: float
    text: str
    """The same in words."""


class Why(BaseModel):
    """What moved an answer."""

    model_config = STRICT

    base: float
    """The margin before any column."""
    sum_check: float
    """|base + contributions - margin|."""
    reasons: list[str]
    """The largest contributions in words."""
    contributions: list[Contribution]
    """All columns, largest first."""


class ServedReply(Head):
    """What is served, and who approved it."""

    digest: str
    question: str
    answers: str
    output: str
    space: str
    source: str
    currency: str
    reviewer: str
    approved_at: str
    max_rows: int
    columns: list[FeatureColumn]


class ToldBundle(Protocol):
    """What a bundle of such answers promises."""

    @property
    def answer(self) -> Any:
        """What it answers."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Feature columns in order."""
        ...

    def told(self, X: Floats) -> list[dict[str, Any]]:
        """The answers to rows, as they are served."""
        ...

    def explain(self, X: Floats) -> Explanation:
        """What each column adds to the margin."""
        ...

    def reasons(
        self, found: Explanation, row: int, language: Language = "en"
    ) -> list[tuple[int, str]]:
        """Columns of an explained row by falling contribution, each with its sentence."""
        ...


class ToldEndpoints:
    """The handlers over one released bundle.

    Parameters
    ----------
    example
        A row of shape (n_features,) that is answered.
    says
        What contributions add up to, in a sentence.
    facts
        What ``/model`` tells beside :class:`ServedReply`.
    """

    def __init__(
        self, bundle: ToldBundle, release: Release, lookup: Lookup | None, example: Floats,
        says: str, facts: dict[str, Any],
    ) -> None:  # fmt: skip
        said, self.bundle, self.says = bundle.answer, bundle, says
        self.reader = RowReader(said.columns, example, lookup)
        self.head = release.head(said)
        self.facts = {
            **release.facts(said, said.space),
            "max_rows": MAX_ROWS,
            "columns": [column.model_dump() for column in said.columns],
            **facts,
        }
        # Explanations cost many times an answer: a thread of its own bounds them.
        self.pool = background.thread("explain")

    def routes(
        self, what: str, predicted: type[BaseModel], explained: type[BaseModel],
        served: type[BaseModel],
    ) -> list[Route]:  # fmt: skip
        """The routes; ``what`` is asked for, such as ``Segments``."""
        schema, example = self.reader.schema(), self.reader.example()
        return [
            Route("/predict", self.predict, f"{what} of 1 to 1,000 customers, in the order of rows",
                  predicted, schema, example),
            Route("/explain", self.explain, "The same with what each column added, in words",
                  explained, schema, example, sentences=True),
            Route("/model", self.model, "What is served, and who approved it", served),
        ]  # fmt: skip

    async def predict(self, request: Request) -> Response:
        """The answer to each row."""
        asked = await self.reader.asked(request)
        told = self.bundle.told(asked.X)
        _watch(request, asked, told)
        return self._reply(request, predictions=told)

    async def explain(self, request: Request) -> Response:
        """The answer to each row, and what speaks for it."""
        wanted = language(request)
        asked = await self.reader.asked(request)
        loop = asyncio.get_running_loop()
        told = await loop.run_in_executor(self.pool, self.explained, asked.X, wanted)
        _watch(request, asked, told)
        space = self.bundle.answer.space
        return self._reply(request, space=space, explains=self.says, explanations=told)

    async def model(self, request: Request) -> Response:
        """What is served, and who approved it."""
        return self._reply(request, **self.facts)

    def explained(self, X: Floats, language: Language = "en") -> list[dict[str, Any]]:
        """The explanations of a request's rows."""
        bundle = self.bundle
        told, found = bundle.told(X), bundle.explain(X)
        rows = categories.rows(bundle.answer.columns, X)
        for i, answer in enumerate(told):
            lines = [
                {"feature": bundle.columns[j],
                 "value": rows[i][bundle.columns[j]],
                 "contribution": float(found.contributions[i, j]), "text": text}
                for j, text in bundle.reasons(found, i, language)
            ]  # fmt: skip
            answer |= {
                "base": float(found.base[i]),
                "sum_check": abs(float(found.scores[i]) - answer["margin"]),
                "reasons": [k["text"] for k in lines[:TOP_REASONS] if k["contribution"] != 0.0],
                "contributions": lines,
            }
        for answer, beside in zip(told, self.beside(X, language), strict=False):
            answer |= beside
        return told

    def beside(self, X: Floats, language: Language) -> list[dict[str, Any]]:
        """What else an explanation tells of each row."""
        del X, language
        return []

    def _reply(self, request: Request, **said: Any) -> Response:
        body = {**self.head, "request_id": request_id(request), **said}
        return Response(orjson.dumps(body), media_type=JSON)


def _watch(request: Request, asked: Asked, told: list[dict[str, Any]]) -> None:
    """Note the answers; what is logged of them is their margin."""
    watch: Watch | None = request.app.state.watch
    if watch:
        margins = np.array([answer["margin"] for answer in told])
        watch.add(asked, request_id(request), margins, margins)
