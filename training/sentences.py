"""The sentences that explain answers, of every family, in English and Chinese.

A template is one line here, in both languages. What it says of a column is the column's own
``meaning``; :mod:`training.chinese` has the Chinese of those that the shipped sets declare, and a
meaning that is not there is said in English.
"""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from features.schema import FeatureColumn
from training import chinese

Language = Literal["en", "zh"]
TIMES = ("minutes", "hours", "days", "weeks", "months", "years")
UNSAID = ("ratio", "flag", "events", "category")
"""Units that say nothing to a reader: the meaning does."""
_WORD = re.compile(r"[a-z]+")
_TEMPLATES = {
    "is": ("{what}: {value}", "{what}为{value}"),
    "unknown": ("unknown, {why}", "未知（{why}）"),
    "raises": (" (raises the score)", "：推高得分"),
    "lowers": (" (lowers the score)", "：拉低得分"),
    "factor": (
        "{what} is {value} (usual {usual}): {moved}",
        "{what}为{value}（通常{usual}）：{moved}",
    ),
    "moved": ("{said} ({moved})", "{said}：{moved}"),
    "adds": ("adds {amount} {unit}", "增加{amount} {unit}"),
    "takes": ("takes {amount} {unit}", "减少{amount} {unit}"),
    "for own": (" (speaks for the segment)", "：支持所在分群"),
    "for other": (" (speaks for the runner-up)", "：支持次近分群"),
    "for none": (" (says nothing here)", "：在此没有影响"),
    "change": (
        "{what} at {then} instead of {now} would mean {id} ({name})",
        "{what}若由{now}变为{then}，则归入{id}（{name}）",
    ),
    "for state": ("{what}: {value}, speaks for the state", "{what}：{value}，支持该状态"),
    "for next": ("{what}: {value}, speaks for the runner-up", "{what}：{value}，支持次选状态"),
    "for neither": ("{what}: {value}, speaks for neither", "{what}：{value}，两者皆不支持"),
    "not observed": ("not observed", "未观测到"),
    "together": ("often {bought} together with {items}", "常与{items}一起{buy}"),
    "step up": (
        "a step up from {items}: {now} instead of {then}",
        "比{items}更高一档：{now}，而非{then}",
    ),
    "every": (
        "you {buy} this every {every}; last time {ago}", "您每{every}{buy}一次；上一次在{ago}",
    ),
    "had": ("you {bought} this {ago}", "您在{ago}{buy}过此商品"),
    "season": (
        "in season: {count} customers {bought} it in these weeks last year",
        "当季：去年同期有{count}位客户{buy}过",
    ),
    "popular": (
        "{count} customers {bought} it in the last {days} days", "近{days}天有{count}位客户{buy}过",
    ),
    "goes with": ("goes with {items}, which you {bought}", "与您{buy}过的{items}相配"),
    "alike": ("described like {items}", "与{items}描述相近"),
    "segment": (
        "{count} customers of {segment} {bought} it in the last 90 days",
        "近90天{segment}中有{count}位客户{buy}过",
    ),
    "category": ("from {category}, where you {buy}", "来自您常{buy}的{category}"),
    "lever": (
        "{was}; with {to}, {then} would be answered instead of {now}",
        "{was}；若为{to}，则答案为{then}，而非{now}",
    ),
    "and": (" and ", "和"),
    "day": ("day", "天"),
    "days": ("{n} days", "{n}天"),
    "weeks": ("{n} weeks", "{n}周"),
    "months": ("{n} months", "{n}个月"),
    "today": ("today", "今天"),
    "yesterday": ("yesterday", "昨天"),
    "ago": ("{span} ago", "{span}前"),
}  # fmt: skip


def say(name: str, language: Language, /, **values: object) -> str:
    """A template with its values."""
    return _TEMPLATES[name][language == "zh"].format(**values)


def meaning(text: str, language: Language) -> str:
    """What a column or factor means."""
    return chinese.meaning(text) if language == "zh" else text


def segment_name(text: str, language: Language) -> str:
    """The name of a segment; names that a person gave stay as they are."""
    return chinese.name(text) if language == "zh" else text


def verbs(said: tuple[str, str], language: Language) -> dict[str, str]:
    """What customers do with an item, for templates."""
    zh = chinese.VERBS.get(said[0], said[0])
    return {"buy": zh, "bought": zh} if language == "zh" else {"buy": said[0], "bought": said[1]}


def number(value: float) -> str:
    """Two decimals at most, thousands parted."""
    text = f"{value:,.2f}"
    return text[:-3] if text.endswith(".00") else text.removesuffix("0")


def figures(*values: float, sign: str = "") -> list[str]:
    """Numbers of a table, with the same digits: four decimals below ten, two from there."""
    digits = 2 if any(abs(value) >= 10 for value in values) else 4
    return [f"{value:{sign},.{digits}f}" for value in values]


@lru_cache(maxsize=4096)
def stater(
    column: FeatureColumn, currency: str, language: Language, means: bool = True
) -> Callable[[float], str]:
    """What says a value of a column, such as ``time since the last order: 71 days``.

    Numbers have the digits that a reader wants: amounts two, times one below ten and none from
    there, others two at most. What a count counts is said once: ``orders, last 90 days: 3``.

    Parameters
    ----------
    currency
        ISO 4217 code of amounts: columns name none, since they serve any source.
    means
        Whether the meaning goes before it; else the value with its unit alone.
    """
    what = meaning(column.meaning, language)
    before, _, after = (
        say("is", language, what=what, value="\0").partition("\0") if means else ("", "", "")
    )
    why = chinese.missing(column.missing) if language == "zh" else column.missing
    unknown = f"{before}{say('unknown', language, why=why)}{after}"
    one, many = (f"{word and f' {word}'}{after}" for word in _unit(column, currency, language))
    money, time = column.unit == "currency", column.unit in TIMES

    if column.dtype == "string":
        words = [f"{before}{level!r}" for level in column.levels]
        return lambda value: unknown if math.isnan(value) else words[int(value)]

    def state(value: float) -> str:  # said of every column of every row: `number`, without a call
        if value != value:
            return unknown
        if time:
            text = f"{value:,.0f}" if abs(value) >= 9.95 else f"{value:.1f}".removesuffix(".0")
        else:
            text = f"{value:,.2f}"
            if not money:
                text = text[:-3] if text.endswith(".00") else text.removesuffix("0")
        text = "0" if text == "-0" else text
        return f"{before}{text}{one if text == '1' else many}"

    return state


def _unit(column: FeatureColumn, currency: str, language: Language) -> tuple[str, str]:
    """What stands after a value, after 1 and after others; nothing where the meaning has it."""
    unit = currency if column.unit == "currency" else column.unit
    counted = unit != "days" and unit in _WORD.findall(column.meaning)  # windows have days, too
    if counted or unit in UNSAID:
        return "", ""
    if language == "zh":
        return (chinese.UNITS.get(unit, unit),) * 2
    if column.unit == "currency" or not unit.endswith("s"):
        return unit, unit
    return f"{unit[:-3]}y" if unit.endswith("ies") else unit[:-1], unit


def moved(value: float, unit: str, language: Language) -> str:
    """Such as ``adds 12.00 EUR``."""
    way = "adds" if value >= 0 else "takes"
    return say(way, language, amount=f"{abs(value):,.2f}", unit=unit)
