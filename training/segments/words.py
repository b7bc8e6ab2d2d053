"""Words for what sets a segment apart, deterministic, from the columns that stand out."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.contract import Floats

NOTABLE, STRONG = 0.35, 1.5
"""Distances of means, in standard deviations, from which a trait is named, and named "very"."""
MOST_TRAITS = 5
"""Traits after which two segments with the same name are numbered."""

# Trait, its columns, what little and what much of it is called; the commonest traits first.
TRAITS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("recency", ("rfm__recency_days",), "recent", "long silent"),
    ("frequency", ("orders__orders_365d", "rfm__frequency_orders"), "rare", "frequent"),
    ("value", ("orders__spend_365d", "orders__spend_total"), "low spend", "high spend"),
    ("basket", ("rfm__monetary_value", "orders__basket_value_365d"), "small baskets",
     "large baskets"),
    ("tenure", ("rfm__T_days",), "new", "long known"),
    ("breadth", ("assortment__products_365d", "assortment__products_total"), "few products",
     "many products"),
    ("returns", ("orders__refund_rate_365d",), "no returns", "many returns"),
    ("discounts", ("orders__discount_share_365d",), "full price", "discounts"),
    ("weekends", ("cadence__weekend_share",), "weekdays", "weekends"),
    ("evenings", ("cadence__evening_share",), "by day", "evenings"),
)  # fmt: skip


NO_ORDER = "no order in a year"
"""Said first of a segment whose middle customer has none; the traits of that year go without."""
OF_THE_YEAR = ("recency", "frequency", "value", "breadth")
ORDERS = "orders__orders_365d"


def names(shifts: Floats, columns: Sequence[str], medians: Floats) -> list[str]:
    """A different name for each segment, from its two traits that stand out most, or more.

    Parameters
    ----------
    shifts
        Mean of each segment less that of everybody, in standard deviations, shape
        (n_segments, n_columns); NaN where nothing is known.
    medians
        Of the same shape, in the columns' own units.
    """
    orders = medians[:, columns.index(ORDERS)] if ORDERS in columns else np.ones(len(shifts))
    ranked = [
        _traits(row, columns, lapsed=bool(n == 0)) for row, n in zip(shifts, orders, strict=True)
    ]
    lengths = [2] * len(ranked)
    for _ in range(MOST_TRAITS):
        made = [
            ", ".join(traits[:n]).capitalize() or "Average"
            for traits, n in zip(ranked, lengths, strict=True)
        ]
        lengths = [n + (made.count(name) > 1) for n, name in zip(lengths, made, strict=True)]
    return [
        f"{name} {made[: i + 1].count(name)}" if made.count(name) > 1 else name
        for i, name in enumerate(made)
    ]


def _traits(shift: Floats, columns: Sequence[str], lapsed: bool) -> list[str]:
    """The traits of one segment, the strongest first; of equal ones the commoner."""
    found: list[tuple[float, int, str]] = []
    for place, (trait, known, little, much) in enumerate(TRAITS):
        if lapsed and trait in OF_THE_YEAR:
            continue
        column = next((name for name in known if name in columns), None)
        away = float("nan") if column is None else float(shift[columns.index(column)])
        if not np.isnan(away) and abs(away) >= NOTABLE:
            very = "very " if abs(away) >= STRONG else ""
            found.append((-round(abs(away), 6), place, very + (much if away > 0 else little)))
    return [NO_ORDER] * lapsed + [word for _, _, word in sorted(found)]


def sentence(name: str, facts: Mapping[str, float], horizon_days: int) -> str:
    """The segment in words and numbers."""
    return (
        f"{name}: {facts['share']:.0%} of customers, {facts['value_share']:.0%} of value, "
        f"{facts['buying']:.0%} bought in the following {horizon_days} days"
    )
