"""Golden rows asked over HTTP: the answers must be those that were given at training time."""

import asyncio
from typing import Any

import httpx
import numpy as np
import orjson
from starlette.types import ASGIApp

from features.errors import DataError
from serving.endpoints import JSON
from training import categories
from training.bundle import TOLERANCE, Bundle, Golden

BATCH_ROWS = 200
EXPLAINED_ROWS = 100
SECONDS = 60.0


def through_app(bundle: Bundle, app: ASGIApp) -> float:
    """Largest difference to the golden answers, asked of an app in this process.

    Raises
    ------
    DataError
        If a row is refused, or the answers differ by more than the bundle's tolerance.
    """
    transport = httpx.ASGITransport(app=app)
    client = httpx.AsyncClient(transport=transport, base_url="http://replay")
    return asyncio.run(_replay(bundle, client))


def through_service(bundle: Bundle, address: str) -> float:
    """Largest difference to the golden answers, asked of a running service.

    Raises
    ------
    DataError
        As :func:`through_app`.
    """
    client = httpx.AsyncClient(base_url=address, timeout=SECONDS, trust_env=False)
    return asyncio.run(_replay(bundle, client))


async def ask(client: httpx.AsyncClient, path: str, rows: list[dict[str, Any]]) -> list[Any]:
    """The answers to ``rows``.

    Raises
    ------
    DataError
        If the service refuses them.
    """
    headers = {"content-type": JSON}
    reply = await client.post(path, content=orjson.dumps({"rows": rows}), headers=headers)
    if reply.status_code != 200:
        raise DataError(f"{len(rows)} rows are refused by {path}: {reply.text}")
    return next(value for value in reply.json().values() if isinstance(value, list))


async def _replay(bundle: Bundle, client: httpx.AsyncClient) -> float:
    golden = bundle.golden
    assert golden is not None, "a written bundle has golden rows"
    rows = categories.rows(bundle.answer.columns, golden.X)
    differences = [0.0]
    async with client:
        for start in range(0, len(rows), BATCH_ROWS):
            answers = await ask(client, "/predict", rows[start : start + BATCH_ROWS])
            differences += _numbers(bundle, golden, answers, start)
        explained = await ask(client, "/explain", rows[:EXPLAINED_ROWS])
        differences += _numbers(bundle, golden, explained, 0)
        differences += _contributions(bundle, golden, explained)
    largest = max(differences)
    if not largest <= TOLERANCE:
        raise DataError(
            f"golden rows are answered differently over HTTP: largest difference {largest:.1e}, "
            f"allowed {TOLERANCE:.0e}; use the locked versions of the dependencies"
        )
    return largest


def _numbers(bundle: Bundle, golden: Golden, answers: list[Any], start: int) -> list[float]:
    told = {bundle.answer.output: golden.prediction, "score": golden.score}
    return [
        float(np.abs([a[name] for a in answers] - values[start : start + len(answers)]).max())
        for name, values in told.items()
    ]


def _contributions(bundle: Bundle, golden: Golden, answers: list[Any]) -> list[float]:
    differences = []
    for i, answer in enumerate(answers):
        moved = {item["feature"]: item["contribution"] for item in answer["contributions"]}
        now = np.array([answer["base"], *(moved[name] for name in bundle.columns)])
        differences.append(float(np.abs(now - [golden.base[i], *golden.contributions[i]]).max()))
    return differences
