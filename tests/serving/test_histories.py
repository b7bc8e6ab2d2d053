"""Requests by posted history: rows made of it are answered; what cannot be read is refused."""

from datetime import datetime
from typing import Any

import orjson
import pytest

from features.canonical import CANONICAL
from features.errors import ConfigError
from features.schema import FeatureColumn
from serving import base, histories
from serving.guard import Guard
from serving.histories import Histories
from serving.lookup import Lookup
from serving.release import Posted, Release
from tests.serving.asgi import JSON, ask
from tests.serving.bad import SECRET
from tests.serving.conftest import COLUMNS
from training.supervised.bundle import Bundle

LINE = {
    "event_time": "2025-01-10T09:00:00", "known_time": "2025-01-10T09:00:00", "order_id": "A",
    "order_ref": "A", "product_id": "P", "quantity": 2, "amount_minor": 1250, "is_return": False,
}  # fmt: skip
POSTED = Posted(
    features=({"use": "rfm.Rfm"},),
    schemas={"order_lines": {k.name: k.dtype for k in CANONICAL["order_lines"].columns}},
    began={"order_lines": datetime(2024, 1, 1)},
    time_zone="Europe/Zurich",
)  # fmt: skip


class OfRecency:
    """The makers' columns that the small bundle has, the others missing."""

    def __init__(self, made: Histories) -> None:
        self.made, self.pool, self.schema = made, made.pool, made.schema
        self.tables = made.tables

    def found(self, body: bytes) -> Any:
        """The row, widened."""
        found = self.made.found(body)
        lacking = {k.name: 0.5 if k.missing == "never" else None for k in COLUMNS}
        found.rows[0] = {k.name: found.rows[0].get(k.name, lacking[k.name]) for k in COLUMNS}
        return found


@pytest.fixture(scope="module")
def app(bundle: Bundle, statement: Release) -> Guard:
    """The service with histories and without profiles."""
    columns = [k for k in COLUMNS if k.name == "rfm__recency_days"]
    made: Any = OfRecency(Histories(POSTED, columns))
    lookup = Lookup(None, COLUMNS, "random", b"", made)
    return Guard(base.make_app(bundle, statement, lookup), base.RULES)


def answered(app: Guard, body: Any, path: str = "/predict") -> Any:
    """Status and reply."""
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    reply = ask(app, "POST", path, sent, JSON)
    return reply.status, reply.json


def test_the_row_is_made_of_the_history(app: Guard) -> None:
    """Days since the line that was posted, as of the moment that was asked about."""
    body = {"history": {"order_lines": [LINE]}, "as_of": "2025-01-20T09:00:00"}
    status, reply = answered(app, body, "/explain")
    assert status == 200, reply
    items = reply["explanations"][0]["contributions"]
    assert {i["feature"]: i["value"] for i in items}["rfm__recency_days"] == 10.0
    assert answered(app, {"history": {"order_lines": [LINE]}})[0] == 200  # as of now
    assert answered(app, {"as_of": None, "reference": {}, "history": {}})[0] == 200


def line(**changes: Any) -> dict[str, Any]:
    """A history of one changed line."""
    return {"history": {"order_lines": [LINE | changes]}}


BAD: list[tuple[Any, int, str, str | None]] = [
    (b'{"history": {', 400, "unreadable_body", None),
    (b'{"history": {}, "history": {}}', 400, "repeated_name", None),
    (b'{"history": {"order_lines": [{"a": NaN}]}}', 400, "unreadable_body", None),
    (b'{"history": ' + b"[" * 100_000, 400, "unreadable_body", None),
    ({"history": {}, "rows": [SECRET]}, 422, "unknown_field", None),
    ({"as_of": "2025-01-01"}, 422, "invalid_field", "history"),
    ({"history": [SECRET]}, 422, "invalid_field", "history"),
    ({"history": {SECRET: {}}}, 422, "invalid_field", "history"),
    ({"history": {SECRET: []}}, 422, "invalid_history", "history"),
    ({"history": {}, "reference": {"order_lines": []}}, 422, "invalid_history", "history"),
    ({"history": {}, "as_of": SECRET}, 422, "invalid_field", "as_of"),
    ({"history": {}, "as_of": "2025-01-01T00:00:00Z"}, 422, "invalid_field", "as_of"),
    (line(**{SECRET: 1}), 422, "invalid_history", "history"),
    (line(event_time=SECRET), 422, "invalid_history", "history"),
    (line(quantity=SECRET), 422, "invalid_history", "history"),
    (line(order_id="a\0" + SECRET), 422, "invalid_history", "history"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), BAD)
def test_what_cannot_be_read_is_refused(
    body: Any, status: int, code: str, field: str | None, app: Guard
) -> None:
    """Status, code and field; nothing is repeated; a good request works afterwards."""
    found, reply = answered(app, body)
    assert (found, reply["code"], reply["field"]) == (status, code, field), reply
    assert SECRET not in str(reply)
    assert answered(app, {"history": {"order_lines": [LINE]}})[0] == 200


def test_without_what_it_takes_it_is_told(served: Guard) -> None:
    """A service whose release says nothing of histories refuses them; so do profiles here."""
    status, reply = answered(served, {"history": {}})
    assert (status, reply["code"]) == (422, "no_histories")


def test_customers_cannot_be_named_without_profiles(app: Guard) -> None:
    """Histories alone do not make profiles."""
    status, reply = answered(app, {"customers": ["1"]})
    assert (status, reply["code"]) == (422, "no_profiles")


def test_the_description_shows_the_form(app: Guard) -> None:
    """Rows and histories, and no customers."""
    spec = ask(app, "GET", "/openapi.json").json
    content = spec["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    forms = [list(form["properties"]) for form in content["schema"]["oneOf"]]
    assert forms == [["rows"], ["history", "reference", "as_of"]]


def test_the_model_tells_what_a_history_may_have(app: Guard, served: Guard) -> None:
    """Tables with their columns and types; none where none can be posted."""
    told = ask(app, "GET", "/model").json
    assert told["tables"]["order_lines"]["amount_minor"] == "int64"
    assert told["profiles"] is None
    assert ask(served, "GET", "/model").json["tables"] == {}


def test_sets_that_do_not_make_the_columns_are_found_before_release() -> None:
    """Packaging leaves such histories out and says why."""
    odd = FeatureColumn(name="x__y", unit="", meaning="odd", missing="never")
    with pytest.raises(ConfigError, match="do not make x__y"):
        histories.check(POSTED, [odd])
