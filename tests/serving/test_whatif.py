"""Asked again: an earlier prediction explained, and a customer with changed values."""

import hashlib
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import base, kept
from serving.access import Access
from serving.guard import Guard
from serving.keys import ALL
from serving.release import Release
from tests.serving.asgi import JSON, ask, post
from tests.serving.bad import SECRET
from tests.serving.conftest import NAMES, as_rows, random_rows
from training.supervised.bundle import Bundle

ANN, BOB = ((b"x-api-key", name) for name in (b"ann", b"bob"))
ACCESS = Access({hashlib.sha256(key).digest(): ALL for _, key in (ANN, BOB)})


def sent(app: Guard, path: str, body: Any, *headers: Any) -> Any:
    """Status and reply."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    reply = ask(app, "POST", path, raw, [*JSON, *headers])
    return reply.status, reply.json


@pytest.fixture
def app(bundle: Bundle, statement: Release) -> Guard:
    """A service with two keys."""
    return Guard(base.make_app(bundle, statement), base.RULES, ACCESS)


def test_a_prediction_is_explained_later(app: Guard) -> None:
    """The explanation of the rows that were predicted, without sending them again."""
    rows = as_rows(random_rows(3, seed=41))
    predicted = post(app, "/predict", rows, [ANN]).json
    status, later = sent(app, "/explain", {"prediction": predicted["request_id"]}, ANN)
    assert status == 200
    direct = post(app, "/explain", rows, [ANN]).json
    later.pop("request_id"), direct.pop("request_id")
    assert later == direct


def test_another_key_does_not_learn_that_it_exists(app: Guard) -> None:
    """The same refusal as for an id that never was; one's own of the same id is one's own."""
    fixed = (b"x-request-id", b"same-id")
    mine, yours = as_rows(random_rows(1, seed=42)), as_rows(random_rows(1, seed=43))
    post(app, "/predict", mine, [ANN, fixed])
    body = {"prediction": "same-id"}
    others = sent(app, "/explain", body, BOB, (b"x-request-id", b"r"))
    never = sent(app, "/explain", {"prediction": "never"}, BOB, (b"x-request-id", b"r"))
    assert others == never
    assert (others[0], others[1]["code"]) == (404, "unknown_prediction")
    post(app, "/predict", yours, [BOB, fixed])
    told = [sent(app, "/explain", body, key)[1]["explanations"][0]["score"] for key in (ANN, BOB)]
    assert told == [post(app, "/predict", r, [ANN]).json["predictions"][0]["score"]
                    for r in (mine, yours)]  # fmt: skip


def test_predictions_are_forgotten(app: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest where there are too many rows, all after an hour."""
    monkeypatch.setattr(kept, "MOST_ROWS", 5)
    rows = as_rows(random_rows(3, seed=44))
    first, second = (post(app, "/predict", rows, [ANN]).json["request_id"] for _ in range(2))
    assert sent(app, "/explain", {"prediction": first}, ANN)[0] == 404
    assert sent(app, "/explain", {"prediction": second}, ANN)[0] == 200
    monkeypatch.setattr(kept, "SECONDS", 0.0)
    assert sent(app, "/explain", {"prediction": second}, ANN)[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"prediction": 5}', 422),
        (b'{"prediction": "x", "rows": []}', 422),
        (b'{"prediction": "x"', 400),
        (b'{"prediction": "' + b"x" * 65 + b'"}', 422),
    ],
)
def test_bad_names_of_predictions(body: bytes, status: int, app: Guard) -> None:
    """As every body."""
    assert sent(app, "/explain", body, ANN)[0] == status


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(NAMES), value=st.floats(0, 1))
def test_differences_add_up(served: Guard, seed: int, name: str, value: float) -> None:
    """Both sides are what /predict gives; the columns' differences are the change of the score."""
    row = as_rows(random_rows(1, seed))[0]
    status, reply = sent(served, "/what-if", {"of": {"rows": [row]}, "changes": {name: value}})
    assert status == 200, reply
    told = post(served, "/predict", [row, row | {name: value}]).json["predictions"]
    for side, prediction in zip(("before", "after"), told, strict=True):
        assert reply[side]["answer"] == prediction["churn_probability"]
        assert reply[side]["score"] == prediction["score"]
    change = reply["after"]["score"] - reply["before"]["score"]
    moved = reply["base"] + sum(item["difference"] for item in reply["differences"])
    assert abs(moved - change) < 1e-5
    assert reply["sum_check"] < 1e-5
    sizes = [abs(item["difference"]) for item in reply["differences"]]
    assert sizes == sorted(sizes, reverse=True)
    if row[name] != value:
        own = next(item for item in reply["differences"] if item["feature"] == name)
        assert (own["before"], own["after"]) == (row[name], value)


ROW = as_rows(np.full((1, len(NAMES)), 0.5))[0]
BAD: list[tuple[Any, int, str]] = [
    (b"{", 400, "unreadable_body"),
    (b'{"of": {}, "of": {}, "changes": {}}', 400, "unreadable_body"),
    ({"of": {"rows": [ROW]}}, 422, "invalid_body"),
    ({"of": {"rows": [ROW]}, "changes": {}}, 422, "invalid_body"),
    ({"of": {"rows": [ROW, ROW]}, "changes": {NAMES[0]: 1}}, 422, "invalid_body"),
    ({"of": {"rows": [ROW]}, "changes": {SECRET: 1}}, 422, "unknown_field"),
    ({"of": {"rows": [ROW]}, "changes": {NAMES[0]: SECRET}}, 422, "invalid_field"),
    ({"of": {"rows": [ROW]}, "changes": {NAMES[0]: -5}}, 422, "invalid_field"),
    ({"of": {"customers": ["1"]}, "changes": {NAMES[0]: 1}}, 422, "no_profiles"),
    ({"of": {"rows": [ROW]}, "changes": {NAMES[0]: 1}, SECRET: 1}, 422, "invalid_body"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD)
def test_bad_changes_are_refused(body: Any, status: int, code: str, served: Guard) -> None:
    """Typed like rows; nothing is repeated."""
    found, reply = sent(served, "/what-if", body)
    assert (found, reply["code"]) == (status, code), reply
    assert SECRET not in str(reply)
