"""Requests that must be refused: what status, in which shape, and nothing repeated from them."""

import asyncio
import gc
import json
import logging
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.guard import Guard
from serving.refused import Refused
from serving.replies import RefusalReply
from serving.rows import MAX_ROWS, RowReader
from tests.serving.asgi import JSON, ask, ask_async
from tests.serving.bad import NUMBER, SECRET, TABLE, Bad, body
from tests.serving.conftest import COLUMNS, NAMES, as_rows, random_rows


def golden_body() -> bytes:
    """A good request."""
    return body(*as_rows(random_rows(5, seed=11)))


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name)
def test_bad_request_is_refused(
    bad: Bad, served: Guard, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The status and code of the table, our error shape, no echo, and an unharmed service."""
    fixed = [*JSON, (b"x-request-id", b"golden")]
    before = ask(served, "POST", "/predict", golden_body(), fixed)
    assert before.status == 200
    with caplog.at_level(logging.DEBUG):
        reply = ask(served, bad.method, bad.path, bad.body, bad.headers)
    told = RefusalReply.model_validate_json(reply.body)
    assert (reply.status, told.code, told.field) == (bad.status, bad.code, bad.field), told.message
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"] == told.request_id
    assert told.message
    printed = capfd.readouterr()
    seen = reply.body.decode() + str(reply.headers) + caplog.text + printed.out + printed.err
    assert SECRET not in seen
    assert NUMBER not in seen
    assert ask(served, "POST", "/predict", golden_body(), fixed).body == before.body


def test_refused_requests_leave_nothing_in_memory(served: Guard) -> None:
    """An exception that is kept keeps the frames that it was raised from, and their requests."""
    replies = [ask(served, bad.method, bad.path, bad.body, bad.headers) for bad in TABLE]
    ids = {reply.headers["x-request-id"] for reply in replies}
    gc.collect()
    states = [kept.get("state") for kept in gc.get_objects() if type(kept) is dict]
    assert not ids & {state.get("request_id", "") for state in states if type(state) is dict}


def test_table_is_large_and_names_are_unique() -> None:
    """At least 60 cases of at least 8 statuses, each told apart."""
    assert len(TABLE) >= 60
    assert len({bad.name for bad in TABLE}) == len(TABLE)
    assert {bad.status for bad in TABLE} == {400, 404, 405, 413, 415, 422, 431}


@pytest.mark.parametrize(
    "bad", [b for b in TABLE if b.status in (400, 422)], ids=lambda bad: bad.name
)
def test_refusal_costs_no_more_than_a_full_answer(bad: Bad, served: Guard) -> None:
    """What a refused body costs of the processor stays bounded: well below the deadline."""
    begun = time.thread_time()
    asyncio.run(ask_async(served, bad.method, bad.path, [bad.body], bad.headers))
    assert time.thread_time() - begun < 0.5


READER = RowReader(COLUMNS, random_rows(1, seed=5)[0])


def expected(text: bytes) -> list[list[float | None]] | None:
    """The rows by Python's own parser and plain rules, or None where the body is to be refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    try:
        parsed = json.loads(text.decode(), object_pairs_hook=once)
        if set(parsed) != {"rows"} or not 1 <= len(parsed["rows"]) <= MAX_ROWS:
            return None
        rows = []
        for row in parsed["rows"]:
            if set(row) != set(NAMES):
                return None
            values = [row[name] for name in NAMES]
            for value, column in zip(values, COLUMNS, strict=True):
                if value is None and column.missing != "never":
                    continue
                if type(value) not in (int, float) or not abs(value) < float("inf"):
                    return None
                if value < (-1e400 if column.low is None else column.low):
                    return None
                if value > (1e400 if column.high is None else column.high):
                    return None
            rows.append([None if v is None else float(v) for v in values])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return rows


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies that are good, or nearly: a good one with a few changes."""
    value = (
        st.none()
        | st.integers(-3, 3)
        | st.floats(0, 1)
        | st.sampled_from([1e308, 2**64, True, "1", [], {}])
    )
    rows = []
    for _ in range(draw(st.integers(0, 3))):
        row = {name: draw(st.floats(0, 1)) for name in draw(st.permutations(NAMES))}
        for name in draw(st.lists(st.sampled_from([*NAMES, "x"]), max_size=2)):
            if draw(st.booleans()):
                row[name] = draw(value)
            else:
                row.pop(name, None)
        rows.append(row)
    text = json.dumps({"rows": rows}, indent=draw(st.sampled_from([None, 1])))
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            start = draw(st.integers(0, len(text)))
            stop = start + draw(st.integers(0, 12))
            text = (
                text[:start]
                + draw(st.sampled_from(["", text[start:stop] * 2, "null", '"x":1,', " ", "{", "}"]))
                + text[stop:]
            )
    return text.encode()


@given(text=bodies())
def test_reader_agrees_with_plain_rules(text: bytes) -> None:
    """A body is read exactly when plain rules accept it, and to the same numbers."""
    rows = expected(text)
    if rows is None:
        with pytest.raises(Refused):
            READER.read(text)
        return
    read = READER.read(text).X.tolist()
    assert [[None if v != v else v for v in row] for row in read] == rows


def test_fields_may_come_in_any_order_and_spacing() -> None:
    """Columns are found by name: a shuffled, indented row gives the model's order."""
    values = {name: float(i) / 10 for i, name in enumerate(NAMES)}
    shuffled = dict(sorted(values.items(), key=lambda item: item[0][::-1]))
    assert list(shuffled) != list(NAMES)
    text = json.dumps({"rows": [shuffled, values]}, indent=3).encode()
    assert READER.read(text).X.tolist() == [list(values.values())] * 2
