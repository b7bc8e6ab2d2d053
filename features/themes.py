"""Themes of features: what a reason is about, in a word that a business uses."""

import re
from collections.abc import Sequence
from functools import lru_cache

from features.schema import FeatureColumn

OF_SET = {
    "rfm": "purchases", "orders": "purchases", "cohort": "purchases",
    "cadence": "timing",
    "assortment": "product",
    "support": "service", "feedback": "service",
    "engagement": "engagement", "contacts": "engagement", "devices": "engagement",
    "periods": "engagement",
    "loyalty": "loyalty",
    "subscription": "contract",
    "graph": "people around",
    "profile": "person", "locations": "person", "attributes": "person",
    "derived": "derived",
}  # fmt: skip
"""Feature set -> the theme of its columns, unless a rule below or the column itself says so."""

RULES = (
    (r"^(assortment__(unit_price|price_level)|subscription__(price|active_price)|\w+__\w*discount)",
     "price"),
    (r"__(season|year_ago|first_quarter)", "season"),
    (r"__(return|refund)", "service"),
    (r"^subscription__\w*payment", "payment"),
)  # fmt: skip
"""Beginnings of column names that belong to another theme than their set; the first that fits."""


def theme_of(column: FeatureColumn) -> str:
    """The theme of ``column``: its own word, else a rule's, else that of its set."""
    return column.theme or _by_name(column.name)


@lru_cache(maxsize=4096)
def _by_name(name: str) -> str:
    for pattern, theme in RULES:
        if re.search(pattern, name):
            return theme
    prefix = name.partition("__")[0]
    return OF_SET.get(prefix, prefix)


def themes(columns: Sequence[FeatureColumn]) -> dict[str, list[int]]:
    """Theme -> places of its columns, in the order in which they come up."""
    found: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        found.setdefault(theme_of(column), []).append(place)
    return found
