"""How recommendations are served: lists for a posted history, their reasons, what is alike."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serving import background
from serving.asking import language, request_id
from serving.base import JSON, Route
from serving.refused import Refused
from serving.release import Release
from serving.rows import STRICT, Asked, first_error
from training.recommend.body import PostedRequest, SimilarRequest
from training.recommend.bundle import ListsBundle
from training.recommend.explain import FAMILIES
from training.recommend.requests import answer, similar

if TYPE_CHECKING:
    from serving.lookup import Lookup

SAYS = (
    "base + contributions = score, by family of the ranker's columns; purchases add up to "
    "maker_score, the score of the item-to-item maker that ranks the item best"
)
Body = TypeVar("Body", PostedRequest, SimilarRequest)


class _Head(BaseModel):
    model_config = STRICT

    model: str
    version: int
    cutoff: str
    """Items are known as they were then."""
    request_id: str


class Filtered(BaseModel):
    """What a rule took away."""

    model_config = STRICT

    rule: str
    items: int
    """Items of the catalogue, each counted at the first rule that takes it away."""


class Item(BaseModel):
    """One item of a list."""

    model_config = STRICT

    rank: int
    product_id: str
    name: str | None
    category: str | None
    price: float | None
    """List price, else what was usually paid, currency."""
    score: float
    """Only the order within the list has a meaning."""
    step: str
    """ranked, content, segment, season or popular: the step of the ladder that put it there."""
    bought_before: bool


class Reasoned(Item):
    """The same with a sentence."""

    reason: str


class _Lists(_Head):
    step: str
    """The lowest step of the ladder that the list needed, in words."""
    filtered: list[Filtered]
    short: str | None
    """Why the list is shorter than asked for; null where it is not."""
    unknown_items: int
    """Products of the request that are not in the catalogue."""
    warnings: list[str]


class Recommended(_Lists):
    """The reply of ``/recommend``."""

    list: str
    items: list[Reasoned]  # type: ignore[valid-type]


class Alike(_Lists):
    """The reply of ``/similar``."""

    items: list[Item]


class Contribution(BaseModel):
    """What one family of columns adds to the score."""

    model_config = STRICT

    family: str
    contribution: float
    text: str


class Purchase(BaseModel):
    """What one past purchase adds to the maker's score."""

    model_config = STRICT

    product_id: str
    contribution: float


class Explained(Reasoned):
    """An item with what its score is made of."""

    base: float
    sum_check: float
    """|base + contributions - score|."""
    contributions: list[Contribution]
    """All families, largest first."""
    maker: str | None
    """Item-to-item maker that ranks the item best; null where none speaks for it."""
    maker_score: float
    purchases: list[Purchase]
    """Past purchases that speak for it there, largest first; they add up to maker_score."""


class ExplainedList(_Lists):
    """The reply of ``/explain``."""

    list: str
    items: list[Explained]  # type: ignore[valid-type]
    space: str
    explains: str


class ListsReply(_Head):
    """What is served, and who approved it."""

    digest: str
    question: str
    answers: str
    output: str
    space: str
    horizon_days: int
    source: str
    currency: str
    reviewer: str
    approved_at: str
    items: int
    """Items of the catalogue."""
    categories: list[str]
    segments: list[str]
    """What a request may say of a stranger."""
    makers: list[str]
    families: dict[str, str]
    """What contributions are added up by."""


def routes(bundle: ListsBundle, release: Release, lookup: "Lookup | None" = None) -> list[Route]:
    """How recommendations are served; customers send what they bought, so nothing is looked up."""
    serves, golden = ListEndpoints(bundle, release), bundle.golden[0]["body"]
    asked, alike = PostedRequest.model_json_schema(), SimilarRequest.model_json_schema()
    product = {"product_id": golden["history"][0]["product_id"]}
    return [
        Route("/recommend", serves.recommend, "A list for one posted history", Recommended,
              flat(asked), golden, sentences=True),
        Route("/explain", serves.explain, "The same list with what every score is made of",
              ExplainedList, flat(asked), golden, sentences=True),
        Route("/similar", serves.similar, "Items like a product", Alike, flat(alike), product),
        Route("/model", serves.model, "What is served, and who approved it", ListsReply),
    ]  # fmt: skip


class ListEndpoints:
    """The handlers over one released bundle."""

    def __init__(self, bundle: ListsBundle, release: Release) -> None:
        said, self.bundle = bundle.answer, bundle
        self.head = release.head(said)
        categories = bundle.recommender.shelf.attributes.categories
        self.facts = {
            **release.facts(said, said.space), "horizon_days": said.horizon_days,
            "items": said.items,
            "categories": sorted({word for word in categories if word}),
            "segments": list(bundle.recommender.shelf.demand.segments),
            "makers": [part.use for part in said.makers], "families": FAMILIES,
        }  # fmt: skip
        # A list takes milliseconds: in a thread of its own it leaves the event loop to the others.
        self.pool = background.thread("lists")

    async def recommend(self, request: Request) -> Response:
        """A list for one posted history."""
        wanted = language(request)
        asked = read(PostedRequest, await request.body())
        told = await self._in_thread(answer, asked, False, wanted)
        _watch(request, told)
        return self._reply(request, told)

    async def explain(self, request: Request) -> Response:
        """The same list with what every score is made of."""
        wanted = language(request)
        asked = read(PostedRequest, await request.body())
        told = await self._in_thread(answer, asked, True, wanted)
        _watch(request, told)
        space = self.bundle.answer.space
        return self._reply(request, {**told, "space": space, "explains": SAYS})

    async def similar(self, request: Request) -> Response:
        """Items like a product."""
        asked = read(SimilarRequest, await request.body())
        return self._reply(request, await self._in_thread(similar, asked))

    async def model(self, request: Request) -> Response:
        """What is served, and who approved it."""
        return _json({**self.facts, "request_id": request_id(request)})

    async def _in_thread(self, made: Any, *asked: Any) -> Mapping[str, Any]:
        loop = asyncio.get_running_loop()
        told: Mapping[str, Any] = await loop.run_in_executor(
            self.pool, made, self.bundle.recommender, *asked
        )
        return told

    def _reply(self, request: Request, told: Mapping[str, Any]) -> Response:
        return _json({**self.head, "request_id": request_id(request), **told})


def _watch(request: Request, told: Mapping[str, Any]) -> None:
    """Note a list: how long it is, and its best score; nothing of the history."""
    watch, items = request.app.state.watch, told["items"]
    if watch:
        asked = Asked(np.empty((1, 0)), [])
        best = np.array([items[0]["score"] if items else np.nan])
        watch.add(asked, request_id(request), np.array([float(len(items))]), best)


def read(type_: type[Body], body: bytes) -> Body:
    """The request in a body, or why it is refused.

    Raises
    ------
    Refused
        400 where the body is not JSON or repeats a name, 422 where a field does not fit.
    """
    try:
        json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Refused(400, "unreadable_body", "the body is not JSON") from None
    try:
        return type_.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _refusal(first_error(error)) from None


def flat(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema without references, as OpenAPI's request bodies want it."""
    known = schema.get("$defs", {})

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return plain(known[node["$ref"].rpartition("/")[2]])
        return {key: plain(value) for key, value in node.items()}

    made: dict[str, Any] = plain({key: v for key, v in schema.items() if key != "$defs"})
    return made


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise Refused(400, "repeated_name", "a name stands twice in one object of the body")
    return made


def _refusal(first: ErrorDetails) -> Refused:
    """A refusal that names the field, such as ``history[3].days_ago``, and never a value."""
    field = ""
    for step in first["loc"]:
        field += f"[{step}]" if isinstance(step, int) else f".{step}" if field else str(step)
    if first["type"] == "extra_forbidden":
        parent = field.rpartition(".")[0]
        where = parent or "the body"
        return Refused(
            422, "unknown_field", f"{where} has a name that is not known", parent or None
        )
    if first["type"] == "missing":
        return Refused(422, "missing_field", f"{field} is missing", field)
    said = first["msg"].removeprefix("Value error, ")
    return Refused(422, "invalid_field", f"{field or 'the body'}: {said}", field or None)


def _json(body: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type=JSON)
