"""What the routes do: bytes of a request in, bytes of a reply out, over one released bundle."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import numpy as np
import orjson
from fastapi import Request, Response

from serving.release import Release
from serving.rows import MAX_ROWS, RowReader
from training.bundle import Bundle
from training.contract import Floats, reasons

JSON = "application/json"
TOP_REASONS = 3


class Endpoints:
    """The handlers over one released bundle."""

    def __init__(self, bundle: Bundle, release: Release) -> None:
        assert bundle.golden is not None, "a released bundle has golden rows"
        answer = bundle.answer
        self.bundle = bundle
        self.reader = RowReader(answer.columns, bundle.golden.X[0])
        self.head = {
            "model": release.model,
            "version": release.version,
            "cutoff": answer.cutoff,
        }
        self.facts = {
            **self.head,
            "digest": release.digest,
            "question": answer.question,
            "output": answer.output,
            "space": answer.space,
            "kind": answer.model.use,
            "horizon_days": answer.horizon_days,
            "threshold": answer.threshold,
            "source": answer.source,
            "currency": answer.currency,
            "reviewer": release.reviewer,
            "approved_at": release.approved_at,
            "max_rows": MAX_ROWS,
            "columns": [column.model_dump() for column in answer.columns],
        }
        # Explanations cost many times a prediction: one thread of their own bounds them and keeps
        # the event loop free for predictions, which take about as long as a switch of threads.
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explain")

    async def predict(self, request: Request) -> Response:
        """Probability, score and decision for each row."""
        X = self.reader.read(await request.body())
        return _json(self.predicted(X, request_id(request)))

    async def explain(self, request: Request) -> Response:
        """What moves each row's score, in the columns that were sent."""
        X = self.reader.read(await request.body())
        loop = asyncio.get_running_loop()
        return _json(await loop.run_in_executor(self.pool, self.explained, X, request_id(request)))

    async def model(self, request: Request) -> Response:
        """What is served, and who approved it."""
        return _json(orjson.dumps({**self.facts, "request_id": request_id(request)}))

    def predicted(self, X: Floats, request_id: str) -> bytes:
        """The reply of ``/predict`` for rows of shape (n_rows, n_features)."""
        output, threshold = self.bundle.answer.output, self.bundle.answer.threshold
        head = {**self.head, "request_id": request_id, "threshold": threshold}
        predictions = [
            {output: p, "score": s, "positive": p >= threshold}
            for p, s in zip(*self._numbers(X), strict=True)
        ]
        return orjson.dumps({**head, "predictions": predictions})

    def explained(self, X: Floats, request_id: str) -> bytes:
        """The reply of ``/explain`` for rows of shape (n_rows, n_features)."""
        answer, names = self.bundle.answer, self.bundle.columns
        probability, scores = self._numbers(X)
        found = self.bundle.explain(X)
        # reasons() sorts by size and leaves out what moves nothing: that comes last here too.
        orders = np.argsort(-np.abs(found.contributions), axis=1, kind="stable").tolist()
        texts = reasons(answer.columns, answer.currency, found, top=len(names))
        values, moved = X.tolist(), found.contributions.tolist()
        explanations = [
            {
                answer.output: probability[i],
                "score": scores[i],
                "base": base,
                "sum_check": abs(total - scores[i]),
                "reasons": texts[i][:TOP_REASONS],
                "contributions": [
                    {
                        "feature": names[j],
                        "value": values[i][j],  # NaN, a missing value, is written as null
                        "contribution": moved[i][j],
                        "text": text,
                    }
                    for j, text in zip_longest(orders[i], texts[i])
                ],
            }
            for i, (base, total) in enumerate(
                zip(found.base.tolist(), found.scores.tolist(), strict=True)
            )
        ]
        says = (
            f"base + contributions = score, in {found.space}, before calibration; "
            f"{answer.output} is a rising function of the score"
        )
        head = {**self.head, "request_id": request_id, "space": found.space, "explains": says}
        return orjson.dumps({**head, "explanations": explanations})

    def _numbers(self, X: Floats) -> tuple[list[float], list[float]]:
        probability, scores = self.bundle.predict(X)
        p, s = probability.tolist(), scores.tolist()
        if not all(0.0 <= value <= 1.0 for value in p):  # so for NaN too
            raise ArithmeticError("a probability is outside [0, 1]")
        return p, s


def request_id(request: Request) -> str:
    """The id that the guard gave to the request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON)
