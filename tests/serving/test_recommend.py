"""Recommendations over HTTP: the golden lists, their reasons, and clear refusals."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from serving import base, replay
from serving.guard import Guard
from serving.release import Release
from tests.training.recommend.worlds import bundle, recommender, shop
from training.recommend import bundle as bundles
from training.recommend.bundle import ListsBundle

HISTORY = [{"product_id": "P000", "days_ago": 30}, {"product_id": "P002", "days_ago": 3}]


@pytest.fixture(scope="module")
def lists() -> ListsBundle:
    """A bundle as a service loads it."""
    return bundles.parse(bundle(recommender(shop())).written(), "digest")


@pytest.fixture(scope="module")
def app(lists: ListsBundle) -> Guard:
    """The app behind its guard."""
    said = Release(
        model="recommend", version=2, digest="digest", reviewer="Ann", approved_at="2026-01-02"
    )
    return Guard(base.make_app(lists, said), base.RULES)


def _ask(app: Guard, path: str, body: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            content = body if isinstance(body, bytes) else orjson.dumps(body)
            headers = {"content-type": "application/json", "x-request-id": "r1"}
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(asked())


def test_golden_lists_over_http(app: Guard, lists: ListsBundle):
    """What packaging replays: every invented history gets the list of training time."""
    assert replay.through_app(lists, app) == 0


def test_recommend_and_explain_say_the_same(app: Guard):
    """The same items in the same order; explained ones add up, in families and past purchases."""
    body = {"history": HISTORY, "list": "mix", "k": 6}
    plain, explained = (_ask(app, path, body).json() for path in ("/recommend", "/explain"))
    assert plain["request_id"] == "r1"
    assert (plain["model"], plain["version"]) == ("recommend", 2)
    assert [x["product_id"] for x in plain["items"]] == [
        x["product_id"] for x in explained["items"]
    ]
    for item in explained["items"]:
        total = item["base"] + sum(part["contribution"] for part in item["contributions"])
        assert total == pytest.approx(item["score"], abs=1e-5)
        parts = sum(part["contribution"] for part in item["purchases"])
        assert parts == pytest.approx(item["maker_score"], abs=1e-9)
        assert item["reason"]


def test_unknown_products_are_counted_not_refused(app: Guard):
    """A history of other shops' products gets what sells, with a warning."""
    reply = _ask(app, "/recommend", {"history": [{"product_id": "other", "days_ago": 1}]})
    assert reply.status_code == 200
    assert reply.json()["unknown_items"] == 1
    assert reply.json()["warnings"] == ["1 product(s) are not in the catalogue and left out"]
    assert len(reply.json()["items"]) == 10


def test_similar(app: Guard):
    """Items like a product, not the product."""
    reply = _ask(app, "/similar", {"product_id": "P004", "k": 3}).json()
    assert len(reply["items"]) == 3
    assert "P004" not in [item["product_id"] for item in reply["items"]]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "unreadable_body", None),
        (b"[" * 100_000, 400, "unreadable_body", None),
        (b'{"k": 1, "k": 2}', 400, "repeated_name", None),
        (b"[]", 422, "invalid_field", None),
        ({"k": "ten"}, 422, "invalid_field", "k"),
        ({"k": 0}, 422, "invalid_field", "k"),
        ({"k": True}, 422, "invalid_field", "k"),
        ({"list": "best"}, 422, "invalid_field", "list"),
        ({"histroy": []}, 422, "unknown_field", None),
        ({"history": [{"days_ago": 1}]}, 422, "missing_field", "history[0].product_id"),
        ({"history": [{**HISTORY[0], "x": 1}]}, 422, "unknown_field", "history[0]"),
        ({"history": [{"product_id": "P000"}]}, 422, "invalid_field", "history[0]"),
        (
            {"history": [{**HISTORY[0], "days_ago": -1}]},
            422,
            "invalid_field",
            "history[0].days_ago",
        ),
        ({"rules": {"diversity": 2}}, 422, "invalid_field", "rules.diversity"),
    ],
)
def test_refusals_name_the_field(app: Guard, body, status, code, field):
    """One form of error, and no value of the request in it."""
    reply = _ask(app, "/recommend", body)
    assert reply.status_code == status
    said = reply.json()
    assert (said["code"], said["field"], said["request_id"]) == (code, field, "r1")
    assert set(said) == {"code", "message", "field", "request_id"}


def test_description_has_examples_that_work(app: Guard):
    """Every documented body is answered, and replies fit the published types."""
    from serving import list_routes

    async def described() -> dict[str, Any]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/openapi.json")).json()

    paths = asyncio.run(described())["paths"]
    types = {
        "/recommend": list_routes.Recommended, "/explain": list_routes.ExplainedList,
        "/similar": list_routes.Alike,
    }  # fmt: skip
    for path, kind in types.items():
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        reply = _ask(app, path, example)
        assert reply.status_code == 200
        kind.model_validate_json(reply.content, strict=True)
