"""Sentences in English and Chinese: the same numbers, from one place, for every family."""

import json
import re
from typing import Any

import pytest

from features.schema import FeatureColumn
from serving.guard import Guard
from tests.serving.asgi import JSON, Reply, ask
from tests.serving.test_recommend import HISTORY, app, lists
from tests.serving.test_segments import Served
from tests.serving.test_segments import served as segments
from training import chinese, sentences

assert app, "the fixtures of both"
assert lists
assert segments
HAN = re.compile(r"[\u4e00-\u9fff]")


def posted(guard: Guard, path: str, body: Any, language: str) -> Reply:
    """A request in a language."""

    async def through(scope: Any, receive: Any, send: Any) -> None:
        await guard({**scope, "query_string": f"language={language}".encode()}, receive, send)

    return ask(through, "POST", path, json.dumps(body).encode(), JSON)


def numbers(value: Any) -> Any:
    """A reply without its texts."""
    if isinstance(value, dict):
        return {k: numbers(v) for k, v in value.items() if k not in ("text", "reasons", "reason")}
    return [numbers(item) for item in value] if isinstance(value, list) else value


def texts(value: Any) -> list[str]:
    """The texts of a reply."""
    if isinstance(value, dict):
        own = [value[k] for k in ("text", "reason") if isinstance(value.get(k), str)]
        return own + [t for v in value.values() for t in texts(v)]
    return [t for item in value for t in texts(item)] if isinstance(value, list) else []


def digits(text: str) -> list[str]:
    """The numbers of a sentence in the order of their size."""
    return sorted(re.findall(r"-?\d[\d,.]*\d|\d", text))


def agree(guard: Guard, path: str, body: Any) -> None:
    """Both languages tell the same, each in its own words."""
    english, zh = (posted(guard, path, body, name) for name in ("en", "zh"))
    assert (english.status, zh.status) == (200, 200)
    one, two = (dict(reply.json, request_id="") for reply in (english, zh))
    assert numbers(one) == numbers(two)
    pairs = list(zip(texts(one), texts(two), strict=True))
    assert len(pairs) > 2
    for said, told in pairs:
        assert not HAN.search(said)
        assert HAN.search(told)
    assert posted(guard, path, body, "xx").json["code"] == "invalid_parameter"


def test_scores(served: Guard, rows: list[dict[str, Any]]) -> None:
    """Every column of every row."""
    agree(served, "/explain", {"rows": rows[:5]})
    both = [
        posted(served, "/explain", {"rows": rows[:5]}, name).json["explanations"]
        for name in ("en", "zh")
    ]
    for one, two in zip(*both, strict=True):
        for a, b in zip(one["reasons"], two["reasons"], strict=True):
            assert digits(a) == digits(b)


def test_segments(segments: Served) -> None:  # noqa: F811
    """Reasons and the least change."""
    rows = [
        {n: None if v != v else v for n, v in zip(segments.bundle.columns, row, strict=True)}
        for row in segments.X[:4].tolist()
    ]
    agree(segments.app, "/explain", {"rows": rows})


def test_lists(app: Guard) -> None:  # noqa: F811
    """Items of a mixed list and of the ladder's lower steps."""
    agree(app, "/recommend", {"history": HISTORY, "list": "mix", "k": 6})
    agree(app, "/explain", {"history": HISTORY, "list": "mix", "k": 6})
    agree(app, "/recommend", {"history": [], "k": 4})


def test_templates_say_the_same_things() -> None:
    """Both texts of a template name the same values, but verbs, which Chinese does not inflect."""
    for name, (english, zh) in sentences._TEMPLATES.items():
        named = [set(re.findall(r"{(\w+)}", text)) - {"buy", "bought"} for text in (english, zh)]
        assert named[0] == named[1], name
        assert HAN.search(zh) or name == "moved", name


@pytest.mark.parametrize(
    ("english", "zh"),
    [
        ("orders, last 90 days", "近90天的订单数"),
        ("orders kept, 30 to 60 days ago", "30至60天前的保留的订单"),
        ("time since the last order", "距上次下单的时间"),
        ("a meaning of somebody's own", "a meaning of somebody's own"),
    ],
)
def test_meanings(english: str, zh: str) -> None:
    """Windows are put together; what is not known is said as it is declared."""
    assert chinese.meaning(english) == zh


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1234.5, "1,234.5"), (100.0, "100"), (0.126, "0.13"), (0.1, "0.1"), (-2.0, "-2"),
        (10.0, "10"),
    ],
)  # fmt: skip
def test_numbers(value: float, said: str) -> None:
    """Two decimals at most and none for nothing."""
    assert sentences.number(value) == said


def test_a_column_s_sentence() -> None:
    """Value and unit, a word, and what is not known."""
    days = FeatureColumn(name="a__b", unit="days", meaning="time since the last order",
                         missing="no order")  # fmt: skip
    english, zh = (sentences.stater(days, "EUR", language) for language in ("en", "zh"))
    assert english(71.0) == "time since the last order: 71 days"
    assert zh(71.0) == "距上次下单的时间为71 天"
    assert english(float("nan")) == "time since the last order: unknown, no order"
    assert zh(float("nan")) == "距上次下单的时间为未知（没有订单）"
    spend = days.model_copy(update={"unit": "currency", "meaning": "net value of all orders"})
    assert sentences.stater(spend, "EUR", "zh")(2.5) == "全部订单净额为2.50 EUR"


@pytest.mark.parametrize(
    ("unit", "meaning", "value", "said", "chinese"),
    [
        ("orders", "orders, last 90 days", 1.0, "1", "1"),
        ("products", "different products bought, last 90 days", 0.0, "0", "0"),
        ("months", "months of 30 days with an order, last 360 days", 3.0, "3", "3"),
        ("days", "longest gap between days with an order", 309.08, "309 days", "309 天"),
        ("days", "time since the last order", 1.0, "1 day", "1 天"),
        ("days", "time since the last order", 0.42, "0.4 days", "0.4 天"),
        ("days", "time until the next order is due", -282.5, "-282 days", "-282 天"),
        ("categories", "kinds of goods", 1.0, "1 category", "1 个品类"),
        ("messages", "those opened", 2.5, "2.5 messages", "2.5 messages"),
        ("currency", "net value of orders", 53.1, "53.10 EUR", "53.10 EUR"),
        ("currency", "net value of orders", 1.0, "1.00 EUR", "1.00 EUR"),
        ("ratio", "share of orders on Saturday or Sunday", 0.1267, "0.13", "0.13"),
        ("ratio", "share of orders on Saturday or Sunday", -0.0001, "0", "0"),
        ("flag", "1 = is a member", 1.0, "1", "1"),
        ("events", "products viewed, last 30 days", 1.0, "1", "1"),
    ],
)
def test_a_value_reads_as_a_person_would_say_it(
    unit: str, meaning: str, value: float, said: str, chinese: str
) -> None:
    """What is counted is said once, one is singular, and digits end where they tell nothing."""
    column = FeatureColumn(name="a__b", unit=unit, meaning=meaning, missing="never")
    alone = {lang: sentences.stater(column, "EUR", lang, means=False) for lang in ("en", "zh")}
    assert alone["en"](value) == said
    assert alone["zh"](value) == chinese
    assert sentences.stater(column, "EUR", "en")(value) == f"{meaning}: {said}"
