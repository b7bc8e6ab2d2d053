"""Customers asked for by id: their published profiles are answered like rows."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import columns as c
from features.compute import arrow_schema
from features.errors import DataError
from features.identity import KEY_FILE, customer_ids, customer_key
from features.online import Profiles, default_url
from features.publishing import publish_profiles
from features.settings import Workspace
from features.sources import Source
from serving import base
from serving.guard import Guard
from serving.lookup import Lookup, open_lookup
from serving.release import Release
from tests.serving.asgi import ask
from tests.serving.conftest import COLUMNS, as_rows, random_rows
from training.supervised.bundle import Bundle

JSON = [(b"content-type", b"application/json")]
PEOPLE = ("17850", "größer", 'a "customers" b')
CUTOFF = datetime(2025, 6, 30)
X = random_rows(len(PEOPLE), seed=11)


class Base:
    """As much of a source as publishing asks for."""

    name = "random"
    time_zone = "UTC"


@pytest.fixture
def published(place: Workspace, tmp_path: Path) -> Workspace:
    """A workspace whose store holds the profiles of three customers."""
    key = customer_key(place.keys)
    ids = customer_ids("random", PEOPLE, key)
    rows = [
        {c.CUSTOMER: ids[name], c.CUTOFF: CUTOFF, **row}
        for name, row in zip(PEOPLE, as_rows(X), strict=True)
    ]
    folder = tmp_path / "features"
    folder.mkdir()
    ordered = sorted(rows, key=lambda row: row[c.CUSTOMER])
    table = pa.Table.from_pylist(ordered, schema=arrow_schema(COLUMNS))
    pq.write_table(table, folder / f"features-{CUTOFF:%Y-%m-%dT%H%M%S}.parquet")
    (folder / "schema.json").write_text(json.dumps([k.model_dump() for k in COLUMNS]))
    (folder / "manifest.json").write_text(json.dumps({"content": "first"}))
    source: Source = Base  # type: ignore[assignment]
    publish_profiles(default_url(place), folder, source, lambda: CUTOFF)
    return place


def at(place: Workspace, days: float) -> Lookup:
    """A lookup that is asked so long after the cutoff."""
    profiles = Profiles.open(
        default_url(place), "random", COLUMNS, lambda: CUTOFF + timedelta(days=days)
    )
    return Lookup(profiles, COLUMNS, "random", customer_key(place.keys))


def answered(app: Guard, path: str, body: Any) -> Any:
    """The reply, or the refusal."""
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    reply = ask(app, "POST", path, sent, JSON)
    return reply.status, orjson.loads(reply.body)


@pytest.fixture
def app(published: Workspace, bundle: Bundle, statement: Release) -> Guard:
    """The service with profiles that are a day old."""
    return Guard(base.make_app(bundle, statement, at(published, 1)), base.RULES)


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_a_customer_gets_the_answer_of_the_row(app: Guard, path: str) -> None:
    """By id and by row are the same to the last bit, in the order asked."""
    asked = [PEOPLE[2], PEOPLE[0], PEOPLE[2], PEOPLE[1]]
    rows = as_rows(X)
    status, by_id = answered(app, path, {"customers": asked})
    assert status == 200, by_id
    _, by_row = answered(app, path, {"rows": [rows[PEOPLE.index(name)] for name in asked]})
    by_id.pop("request_id"), by_row.pop("request_id")
    assert by_id == by_row
    assert by_id["warnings"] == []


def test_profiles_of_those_who_allowed_say_so(
    published: Workspace, tmp_path: Path, bundle: Bundle, statement: Release
) -> None:
    """A customer without a profile is refused with the purpose, and is not asked to send a row."""
    source: Source = Base  # type: ignore[assignment]
    ids = customer_ids("random", [*PEOPLE, "card"], customer_key(published.keys))
    publish_profiles(
        default_url(published), tmp_path / "features", source, lambda: CUTOFF, "analytics",
        {ids[PEOPLE[0]]: [ids["card"], ids[PEOPLE[1]]]},
    )  # fmt: skip
    app = Guard(base.make_app(bundle, statement, at(published, 1)), base.RULES)
    status, reply = answered(app, "/predict", {"customers": [PEOPLE[0], "nobody"]})
    assert (status, reply["code"]) == (422, "no_consent_known")
    assert "did not allow 'analytics'" in reply["message"]
    assert "row" not in reply["message"]
    # A further number of the same person finds the profile; what has its own keeps it.
    own, card, other = (answered(app, "/predict", {"customers": [k]})[1]["predictions"]
                        for k in (PEOPLE[0], "card", PEOPLE[1]))  # fmt: skip
    assert own == card != other


def test_old_profiles_are_warned_of(
    published: Workspace, bundle: Bundle, statement: Release
) -> None:
    """The age is told in days."""
    old = Guard(base.make_app(bundle, statement, at(published, 30)), base.RULES)
    _, reply = answered(old, "/predict", {"customers": [PEOPLE[0]]})
    assert reply["warnings"] == ["the profiles are 30 days old"]


def test_ages_are_told(published: Workspace, bundle: Bundle, statement: Release) -> None:
    """How old model and profiles are, for people and probes; a broken store is no failure."""
    old = Guard(base.make_app(bundle, statement, at(published, 30)), base.RULES)
    told = orjson.loads(ask(old, "GET", "/model", b"", []).body)
    assert told["profiles"] == {"cutoff": "2025-06-30", "age_days": 30.0, "customers": 3}
    assert told["age_days"] > 5000


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"customers": ["17850", "nobody"]}, 422, "unknown_customer", "customers[1]"),
        ({"customers": []}, 422, "invalid_customers", "customers"),
        ({"customers": "17850"}, 422, "invalid_customers", "customers"),
        ({"customers": ["17850", 17850]}, 422, "invalid_customer", "customers[1]"),
        ({"customers": [""]}, 422, "invalid_customer", "customers[0]"),
        ({"customers": ["x" * 201]}, 422, "invalid_customer", "customers[0]"),
        ({"customers": ["1"] * 1001}, 422, "invalid_customers", "customers"),
        ({"customers": ["17850"], "rows": []}, 422, "unknown_field", None),
        (b'{"customers": ["17850"], "customers": ["17850"]}', 400, "repeated_name", None),
        (b'{"customers": ["17850"', 400, "unreadable_body", None),
    ],
)
def test_what_cannot_be_looked_up_is_refused(
    body: Any, status: int, code: str, field: str | None, app: Guard
) -> None:
    """What is wrong, and where; no id is repeated."""
    found, reply = answered(app, "/predict", body)
    assert (found, reply["code"], reply["field"]) == (status, code, field)
    assert "nobody" not in reply["message"]
    assert "17850" not in reply["message"]


def test_without_profiles_rows_are_answered_all_the_same(served: Guard) -> None:
    """The refusal says what to do."""
    status, reply = answered(served, "/predict", {"customers": ["17850"]})
    assert (status, reply["code"]) == (422, "no_profiles")
    assert answered(served, "/predict", {"rows": as_rows(X)})[0] == 200


def test_a_store_that_fails_is_told_as_unavailable(
    app: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and the next request by row is answered."""

    def broken(*_: Any) -> Any:
        raise DataError("the store is gone")

    monkeypatch.setattr(Profiles, "get_many", broken)
    status, reply = answered(app, "/predict", {"customers": [PEOPLE[0]]})
    assert (status, reply["code"]) == (503, "profiles_unavailable")
    assert answered(app, "/predict", {"rows": as_rows(X)})[0] == 200


def test_a_lookup_opens_only_where_all_is_there(published: Workspace, place: Workspace) -> None:
    """Other columns, another source or no key: none, and no key is made."""
    assert open_lookup(published, "random", COLUMNS) is not None
    assert open_lookup(published, "another", COLUMNS) is None
    odd = [COLUMNS[0].model_copy(update={"name": "x__other"})]
    assert open_lookup(published, "random", odd) is None
    (place.keys / KEY_FILE).unlink()
    assert open_lookup(published, "random", COLUMNS) is None
    assert not (place.keys / KEY_FILE).exists()


def test_the_description_shows_both_forms(app: Guard) -> None:
    """Generated clients can send rows or customers."""
    spec = orjson.loads(ask(app, "GET", "/openapi.json", b"", []).body)
    schema = spec["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    forms = schema["schema"]["oneOf"]
    assert [list(form["properties"]) for form in forms] == [["rows"], ["customers"]]
