"""Golden rows asked over HTTP: the answers must be those that were given at training time."""

import asyncio
from typing import Any

import httpx
import numpy as np
import orjson
from starlette.types import ASGIApp

from features.errors import DataError
from serving.base import JSON
from training.bundle import TOLERANCE, Loaded

SECONDS = 60.0


def through_app(bundle: Loaded, app: ASGIApp) -> float:
    """Largest difference to the golden answers, asked of an app in this process.

    Raises
    ------
    DataError
        If a row is refused, or the answers differ by more than the bundle's tolerance.
    """
    transport = httpx.ASGITransport(app=app)
    client = httpx.AsyncClient(transport=transport, base_url="http://replay")
    return asyncio.run(_replay(bundle, client))


def through_service(bundle: Loaded, address: str) -> float:
    """Largest difference to the golden answers, asked of a running service.

    Raises
    ------
    DataError
        As :func:`through_app`.
    """
    client = httpx.AsyncClient(base_url=address, timeout=SECONDS, trust_env=False)
    return asyncio.run(_replay(bundle, client))


async def ask(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The reply to ``body``.

    Raises
    ------
    DataError
        If the service refuses it.
    """
    headers = {"content-type": JSON}
    reply = await client.post(path, content=orjson.dumps(body), headers=headers)
    if reply.status_code != 200:
        raise DataError(f"a golden request is refused by {path}: {reply.text}")
    answered: dict[str, Any] = orjson.loads(reply.content)
    return answered


async def _replay(bundle: Loaded, client: httpx.AsyncClient) -> float:
    differences = [0.0]
    async with client:
        for asked in bundle.recorded():
            differences.append(asked.difference(await ask(client, asked.path, asked.body)))
    largest = float(np.max(differences))  # NaN where any is
    if not largest <= TOLERANCE:
        raise DataError(
            f"golden rows are answered differently over HTTP: largest difference {largest:.1e}, "
            f"allowed {TOLERANCE:.0e}; use the locked versions of the dependencies"
        )
    return largest
