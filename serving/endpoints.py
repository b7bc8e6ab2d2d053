"""What the routes do: bytes of a request in, bytes of a reply out, over one released bundle."""

import asyncio
import sys
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import orjson
from fastapi import Request, Response

from serving import background, whatif
from serving.asking import language, request_id
from serving.base import JSON, Route
from serving.explainer import Explainer, Rows
from serving.kept import Kept, Prediction, names_prediction
from serving.lookup import Lookup
from serving.release import Release
from serving.replies import ModelReply, reply_types
from serving.rows import MAX_ROWS, Asked, RowReader
from serving.watch import Watch
from training.contract import Floats
from training.sentences import Language
from training.supervised.bundle import Bundle

MOST_TOGETHER = 32
"""Rows of several requests that are explained in one go."""
ROWS_AT_ONCE = 4
"""Rows of an explanation that are put into words before others have their turn: a millisecond."""


def routes(bundle: Bundle, release: Release, lookup: Lookup | None) -> list[Route]:
    """How a supervised answer is served."""
    serves = Endpoints(bundle, release, lookup)
    predicted, explained = reply_types(bundle.answer)
    schema, example = serves.reader.schema(), serves.reader.example()
    return [
        Route(
            "/predict",
            serves.predict,
            "Answers for 1 to 1,000 customers, in the order of the rows",
            predicted,
            schema,
            example,
        ),
        Route(
            "/explain",
            serves.explain,
            "The same answers with the contribution of every column",
            explained,
            {"oneOf": [*schema.get("oneOf", [schema]), Prediction.model_json_schema()]},
            example,
            sentences=True,
        ),
        Route(
            "/what-if",
            serves.what_if,
            "One customer as asked and with values changed, and what the change moves",
            whatif.WhatIf,
            whatif.schema(serves.reader),
            whatif.example(serves.reader),
        ),
        Route("/model", serves.model, "What is served, and who approved it", ModelReply),
    ]


class Endpoints:
    """The handlers over one released bundle."""

    def __init__(self, bundle: Bundle, release: Release, lookup: Lookup | None = None) -> None:
        assert bundle.golden is not None, "a released bundle has golden rows"
        answer = bundle.answer
        self.bundle, self.lookup = bundle, lookup
        self.reader = RowReader(answer.columns, bundle.golden.X[0], lookup)
        self.most = 1.0 if answer.kind == "event" else sys.float_info.max
        self.head = release.head(answer)
        self.facts = {
            **release.facts(answer, answer.space),
            "unit": answer.said_unit,
            "kind": answer.model.named,
            "horizon_days": answer.horizon_days,
            "threshold": answer.threshold,
            "max_rows": MAX_ROWS,
            "tables": lookup.histories.tables if lookup and lookup.histories else {},
            "columns": [column.model_dump() for column in answer.columns],
            "details": [
                {**detail.model_dump(), "unit": answer.said(detail.unit)} for detail in answer.told
            ],
        }
        # Explanations cost many times a prediction: one thread of their own bounds them and keeps
        # the event loop free for predictions, which take about as long as a switch of threads.
        self.pool = background.thread("explain", behind=True)
        self.explainer = Explainer(bundle)
        self.together = background.Together(self.pool, self.explainer.computed, MOST_TOGETHER)
        self.kept = Kept()

    async def predict(self, request: Request) -> Response:
        """Answer and score for each row, of an event the decision too."""
        asked = await self.reader.asked(request)
        reply = self.predicted(asked, request_id(request), request.app.state.watch)
        self.kept.keep(request, asked)
        return _json(reply)

    async def explain(self, request: Request) -> Response:
        """What moves each row's score, in the columns that were sent."""
        wanted = language(request)
        body, watch = await request.body(), request.app.state.watch
        if names_prediction(body):  # answered and counted before
            asked, watch = self.kept.asked(request, body), None
        else:
            asked = await self.reader.asked(request)
        return _json(await self.explained(asked, request_id(request), watch, wanted))

    async def what_if(self, request: Request) -> Response:
        """One customer as asked and with values changed."""
        body, loop = await request.body(), asyncio.get_running_loop()
        return _json(await loop.run_in_executor(self.pool, self.changed, body, request_id(request)))

    async def model(self, request: Request) -> Response:
        """What is served, who approved it, and how old it is."""
        loop = asyncio.get_running_loop()
        ages = await loop.run_in_executor(None, self.ages)
        return _json(orjson.dumps({**self.facts, **ages, "request_id": request_id(request)}))

    def ages(self) -> dict[str, Any]:
        """Days since the model's cutoff, and how old the profiles are; a store is asked."""
        learned = date.fromisoformat(self.bundle.answer.cutoff)
        return {
            "age_days": (datetime.now(UTC).date() - learned).days,
            "profiles": self.lookup.published() if self.lookup else None,
        }

    def predicted(self, asked: Asked, request_id: str, watch: Watch | None = None) -> bytes:
        """The reply of ``/predict``."""
        output, threshold = self.bundle.answer.output, self.bundle.answer.threshold
        answers, scores = self._numbers(asked.X)
        if watch:
            watch.add(asked, request_id, answers, scores)
        numbers = zip(answers.tolist(), scores.tolist(), strict=True)
        predictions: list[dict[str, Any]]
        if threshold is None:
            judged: dict[str, object] = {"unit": self.bundle.answer.said_unit}
            predictions = [{output: value, "score": s} for value, s in numbers]
        else:
            judged = {"threshold": threshold}
            predictions = [{output: p, "score": s, "positive": p >= threshold} for p, s in numbers]
        for name, column in self._told(asked.X, answers, scores).items():
            for prediction, value in zip(predictions, column, strict=True):
                prediction[name] = value
        head = {**self.head, "request_id": request_id, **judged}
        return orjson.dumps({**head, "predictions": predictions, "warnings": asked.warnings})

    async def explained(
        self, asked: Asked, request_id: str, watch: Watch | None = None, language: Language = "en"
    ) -> bytes:
        """The reply of ``/explain``: numbers by the thread, words a few rows at a time."""
        answers, scores = self._numbers(asked.X)
        if watch:
            watch.add(asked, request_id, answers, scores)
        rows = Rows(asked.X, answers, scores, language)
        found = await self.together.done(rows, len(asked.X))
        explanations = list[dict[str, Any]]()
        for said in self.explainer.said(found):
            if explanations and len(explanations) % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
            explanations.append(said)
        space, output = found.found.space, self.bundle.answer.output
        says = (
            f"base + contributions = score, in {space}, before calibration; "
            f"{output} is a rising function of the score"
        )
        head = {**self.head, "request_id": request_id, "space": space, "explains": says}
        return orjson.dumps({**head, "explanations": explanations, "warnings": asked.warnings})

    def changed(self, body: bytes, request_id: str) -> bytes:
        """The reply of ``/what-if``."""
        asked = whatif.read(self.reader, body)
        answers, scores = (column.tolist() for column in self._numbers(asked.X))
        told = whatif.told(self.bundle, asked, answers, scores)
        return orjson.dumps({**self.head, "request_id": request_id, **told})

    def _numbers(self, X: Floats) -> tuple[Floats, Floats]:
        answers, scores = self.bundle.predict(X)
        if not ((answers >= 0.0) & (answers <= self.most)).all():  # so for NaN too
            raise ArithmeticError(f"an answer is outside [0, {self.most:g}]")
        return answers, scores

    def _told(self, X: Floats, answers: Floats, scores: Floats) -> dict[str, list[Any]]:
        """The columns beside the answer."""
        told = self.bundle.tell(X, answers, scores)
        odd = [n for n, v in told.items() if v.dtype.kind == "f" and not np.isfinite(v).all()]
        if odd:
            raise ArithmeticError(f"{odd}: no finite numbers")
        return {name: values.tolist() for name, values in told.items()}


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON)
