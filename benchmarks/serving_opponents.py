"""What a service is held against: the same booster behind FastAPI, BentoML's API and MLflow.

    python benchmarks/serving_opponents.py fastapi|bare PORT MODEL COLUMNS [KEYS]

``fastapi`` types its rows and replies, asks for a key by the same hash and comparison, and writes
the same audit line; ``bare`` takes JSON as it comes. Both use ``inplace_predict``, and
``pred_contribs`` to explain.
"""

import hashlib
import hmac
import os
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import orjson
import uvicorn
import xgboost
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, create_model

PLAIN = """
import bentoml, numpy as np, xgboost
@bentoml.service(workers=1)
class Plain:
    def __init__(self):
        self.booster = xgboost.Booster(model_file={model!r})
        self.booster.set_param({{"nthread": 1}})
    @bentoml.api
    def predict(self, rows: list[dict[str, float | None]]) -> list[float]:
        X = np.array([[np.nan if v is None else v for v in row.values()] for row in rows])
        return self.booster.inplace_predict(X).tolist()
"""
"""A BentoML service as its documentation shows it."""


def opened(model: str) -> xgboost.Booster:
    """The booster, on one thread."""
    booster = xgboost.Booster(model_file=model)
    booster.set_param({"nthread": 1})
    return booster


def app(model: str, columns: int, hashes: list[bytes]) -> FastAPI:
    """The typed service."""
    booster, made = opened(model), FastAPI()
    audit = os.open(os.devnull, os.O_WRONLY)

    class Strict(BaseModel):
        model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    row: Any = create_model(
        "Row", __base__=Strict, **{f"c{k}": (float | None, ...) for k in range(columns)}
    )

    class Rows(Strict):
        rows: Annotated[list[row], Field(min_length=1, max_length=1000)]

    class Answer(BaseModel):
        probability: float
        score: float
        positive: bool

    class Answers(BaseModel):
        request_id: str
        predictions: list[Answer]

    class Why(Answer):
        base: float
        contributions: dict[str, float]

    class Explained(BaseModel):
        request_id: str
        explanations: list[Why]

    def caller(x_api_key: Annotated[str, Header()] = "") -> str:
        sent = hashlib.sha256(x_api_key.encode()).digest()
        if not any([hmac.compare_digest(sent, known) for known in hashes]):
            raise HTTPException(401)
        return sent.hex()

    def note(who: str, path: str, request_id: str, begun: float) -> None:
        told = {
            "time": datetime.now(UTC).isoformat(), "request_id": request_id, "caller": who[:16],
            "path": path, "status": 200, "ms": 1e3 * (time.perf_counter() - begun),
        }  # fmt: skip
        os.write(audit, orjson.dumps(told) + b"\n")

    def matrix(body: Rows) -> np.ndarray:
        return np.array([list(r.__dict__.values()) for r in body.rows], dtype=np.float64)

    def answers(margins: np.ndarray) -> list[dict[str, Any]]:
        p = 1 / (1 + np.exp(-margins))
        return [
            {"probability": a, "score": s, "positive": a >= 0.5}
            for a, s in zip(p.tolist(), margins.tolist(), strict=True)
        ]

    @made.post("/predict")
    async def predict(body: Rows, who: Annotated[str, Depends(caller)]) -> Answers:
        begun, id_ = time.perf_counter(), os.urandom(12).hex()
        margins = booster.inplace_predict(matrix(body), predict_type="margin")
        note(who, "/predict", id_, begun)
        return Answers(request_id=id_, predictions=answers(margins))

    @made.post("/explain")
    async def explain(body: Rows, who: Annotated[str, Depends(caller)]) -> Explained:
        begun, id_ = time.perf_counter(), os.urandom(12).hex()
        found = booster.predict(xgboost.DMatrix(matrix(body)), pred_contribs=True)
        names = [f"c{k}" for k in range(columns)]
        told = [
            {**a, "base": row[-1], "contributions": dict(zip(names, row, strict=False))}
            for a, row in zip(answers(found.sum(axis=1)), found.tolist(), strict=True)
        ]
        note(who, "/explain", id_, begun)
        return Explained(request_id=id_, explanations=told)

    return made


def bare(model: str) -> FastAPI:
    """The least that answers."""
    booster, made = opened(model), FastAPI()

    @made.post("/predict")
    async def predict(request: Request) -> Response:
        rows = orjson.loads(await request.body())["rows"]
        X = np.array([list(row.values()) for row in rows], dtype=np.float64)
        return Response(orjson.dumps(booster.inplace_predict(X).tolist()))

    return made


if __name__ == "__main__" and len(sys.argv) > 1:
    kind, port, file, width = sys.argv[1:5]
    known = [bytes.fromhex(text) for text in sys.argv[5:]]
    service = app(file, int(width), known) if kind == "fastapi" else bare(file)
    uvicorn.run(service, port=int(port), access_log=False, log_level="warning")
