"""Predictions that are kept for a while: whose they are, how many, and what they cost."""

import gc
import json

import numpy as np
import pytest
from starlette.requests import Request

from serving import kept
from serving.kept import Kept
from serving.refused import Refused
from serving.rows import Asked


def request(name: str, caller: str = "a") -> Request:
    """A request with what the guard knows of it."""
    state = {"caller": caller, "request_id": name}
    return Request({"type": "http", "headers": [], "state": state})


def row(value: float) -> Asked:
    """One row of three columns."""
    return Asked(np.full((1, 3), value), ["old"], np.array([7]))


def body(name: str) -> bytes:
    """A request to explain it."""
    return json.dumps({"prediction": name}).encode()


def test_what_was_asked_comes_back_as_it_was() -> None:
    """Rows, warnings and customers."""
    holds = Kept()
    holds.keep(request("x"), row(np.nan))
    found = holds.asked(request("y"), body("x"))
    assert np.isnan(found.X).all()
    assert (found.warnings, found.customers.tolist()) == (["old"], [7])


def test_the_oldest_go_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows count, not requests."""
    monkeypatch.setattr(kept, "MOST_ROWS", 3)
    holds = Kept()
    for name in "abcd":
        holds.keep(request(name), row(1.0))
    with pytest.raises(Refused, match="no prediction of yours"):
        holds.asked(request("x"), body("a"))
    assert holds.asked(request("x"), body("b")).X.shape == (1, 3)


@pytest.mark.parametrize(("caller", "later"), [("b", 0.0), ("a", kept.SECONDS + 1)])
def test_others_and_latecomers_get_nothing(
    caller: str, later: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the key that asked, and for an hour."""
    holds = Kept()
    holds.keep(request("x"), row(1.0))
    now = kept.time.monotonic()
    monkeypatch.setattr(kept.time, "monotonic", lambda: now + later)
    with pytest.raises(Refused):
        holds.asked(request("y", caller), body("x"))


def test_the_collector_of_garbage_does_not_look_at_them() -> None:
    """Thousands of them would make it hold up every request."""
    holds = Kept()

    def watched(count: int) -> int:
        for k in range(count):
            holds.keep(request(f"{count}-{k}"), row(1.0))
        for _ in range(3):  # a tuple is let go once what it holds has been
            gc.collect()
        return len(gc.get_objects())

    few = watched(10)
    assert watched(1_000) - few < 100


def test_only_a_prediction_is_named() -> None:
    """Anything else in the body is refused."""
    with pytest.raises(Refused):
        Kept().asked(request("x"), b'{"prediction": 1}')
    assert kept.names_prediction(b' { "prediction":')
    assert not kept.names_prediction(b'{"rows": []}')
