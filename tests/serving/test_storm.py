"""Many bad requests, and many requests for long: nothing breaks, nothing grows."""

import asyncio
import gc
import os
import random
import time
from collections import Counter

import psutil
import pytest

from serving.guard import Guard
from serving.replies import RefusalReply
from tests.serving.asgi import JSON, Reply, ask, ask_async
from tests.serving.bad import NUMBER, SECRET, TABLE, Bad, body
from tests.serving.conftest import as_rows, random_rows

MANY = 20_000 if os.environ.get("PERENNIAL_TEST_ALL") else 2_000
SOAK = float(os.environ.get("PERENNIAL_SOAK_SECONDS", "1800"))
"""Seconds of `make test-all`; another number for a shorter look."""
FIXED = [*JSON, (b"x-request-id", b"golden")]
WARM = 0.2
"""Share of the soak after which memory is held against the end."""
GROWTH = 15e6


def damaged(bad: Bad, dice: random.Random) -> bytes:
    """The body of a bad request with bytes turned, cut, doubled or put in."""
    text = bytearray(bad.body[:4_096])
    for _ in range(dice.randrange(3)):
        at = dice.randrange(len(text) + 1)
        match dice.randrange(4):
            case 0 if at < len(text):
                text[at] ^= 1 << dice.randrange(8)
            case 1:
                del text[at : at + dice.randrange(40)]
            case 2:
                text[at:at] = text[at : at + dice.randrange(40)]
            case _:
                text[at:at] = dice.choice([b"null", b"{", b"}]", b'"', b"1e999", b"\\ud800", b"\0"])
    return bytes(text)


async def storm(app: Guard, bad: Bad, text: bytes) -> Reply:
    """The request in one piece or in two."""
    half = len(text) // 2
    chunks = [text] if half % 2 else [text[:half], text[half:]]
    return await ask_async(app, bad.method, bad.path, chunks, bad.headers)


def test_thousands_of_bad_requests(served: Guard) -> None:
    """Each is refused in the one shape, or was repaired by chance; a good one is unharmed."""
    golden = body(*as_rows(random_rows(5, seed=11)))
    before = ask(served, "POST", "/predict", golden, FIXED)
    assert before.status == 200
    dice, statuses = random.Random(0), Counter[int]()

    async def all_of_them() -> None:
        for k in range(MANY):
            bad = TABLE[k % len(TABLE)]
            reply = await storm(served, bad, damaged(bad, dice))
            statuses[reply.status] += 1
            assert SECRET.encode() not in reply.body
            assert NUMBER.encode() not in reply.body
            if reply.status != 200:
                told = RefusalReply.model_validate_json(reply.body)
                assert told.request_id == reply.headers["x-request-id"]

    asyncio.run(all_of_them())
    assert set(statuses) <= {200, 400, 404, 405, 413, 415, 422, 431}
    assert statuses[400] > MANY // 20
    assert statuses[422] > MANY // 20
    assert ask(served, "POST", "/predict", golden, FIXED).body == before.body


@pytest.mark.slow
def test_soak(served: Guard) -> None:
    """Memory is flat over half an hour of predictions, explanations and bad requests."""
    process, dice = psutil.Process(), random.Random(1)
    good = [body(*as_rows(random_rows(n, seed=n))) for n in (1, 5, 100)]
    begun, warm, answered = time.monotonic(), 0.0, 0

    async def some() -> None:
        for _ in range(200):
            for path in ("/predict", "/explain"):
                reply = await ask_async(served, "POST", path, [dice.choice(good)], JSON)
                assert reply.status == 200
            bad = dice.choice(TABLE)
            assert (await storm(served, bad, damaged(bad, dice))).status < 500

    while (passed := time.monotonic() - begun) < SOAK:
        asyncio.run(some())
        answered += 600
        gc.collect()
        if not warm and passed > WARM * SOAK:
            warm = float(process.memory_info().rss)
    assert answered > SOAK
    assert process.memory_info().rss - warm < GROWTH
