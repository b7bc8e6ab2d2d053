"""A feature set made of leaks, one for each check of the kit: a kit that misses one is broken."""

from datetime import datetime

import ibis
import ibis.expr.types as ir

from features import columns as c
from features.schema import FeatureColumn
from features.settings import Strict
from features.views import View, days_between

LEAKS = {
    "later_rows": ("next_days", "time until the customer's next row after the cutoff"),
    "late_news": ("happened_rows", "rows that happened before the cutoff, known or not"),
    "row_order": ("first_number", "smallest number of a row"),
    "other_customers": ("of_all", "customers known at the cutoff"),
    "shifted_clock": ("since_2000_days", "days from 2000-01-01 to the last row"),
    "one_pass": ("cutoffs", "cutoffs that the customer is looked at from"),
    "without_rows": ("one", "one for everyone, declared as zero without rows"),
}
"""Check -> the column that breaks it, without its prefix, and what that column is."""


class CanaryConfig(Strict):
    """Which table is looked into."""

    table: str
    """Any table whose rows belong to customers."""


class Canary:
    """One column for each way to leak; its declaration and its values break promises too."""

    config: CanaryConfig

    def __init__(self, config: CanaryConfig) -> None:
        self.config = config
        self.reads: tuple[str, ...] = (config.table,)

    def columns(self) -> list[FeatureColumn]:
        """The declared columns: without a unit, and with a bound that their values break."""
        return [
            FeatureColumn(
                name=f"canary__{name}", unit=" ", meaning=meaning, missing="nobody says", high=-1e9,
                fill=0 if check == "without_rows" else None,
            )
            for check, (name, meaning) in LEAKS.items()
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff."""
        seen, keys = view.rows(self.config.table), (c.CUSTOMER, c.CUTOFF)
        rows = seen.get_backend().table(self.config.table)
        asked = view.customers
        either = asked.left_join(rows, c.CUSTOMER)
        before = either[c.EVENT_TIME] < either[c.CUTOFF]
        unseen = either.group_by(keys).aggregate(
            next=either[c.EVENT_TIME].min(where=~before), happened=before.sum()
        )
        past = seen.group_by(keys).aggregate(first=seen[c.ROW].min(), last=seen[c.EVENT_TIME].max())
        found = asked.mutate(
            of_all=asked[c.CUSTOMER].count().over(group_by=c.CUTOFF),
            cutoffs=asked[c.CUSTOMER].count().over(group_by=c.CUSTOMER),
        )
        for part in (unseen, past):
            found = found.left_join(part, keys).drop(*(f"{key}_right" for key in keys))
        fixed = ibis.literal(datetime(2000, 1, 1), type="timestamp(6)")
        values = {
            "next_days": days_between(found[c.CUTOFF], found.next),
            "happened_rows": found.happened, "first_number": found["first"],
            "of_all": found.of_all, "since_2000_days": days_between(fixed, found["last"]),
            "cutoffs": found.cutoffs, "one": ibis.literal(1.0),
        }  # fmt: skip
        return found.select(
            *keys, **{f"canary__{name}": value.cast("float64") for name, value in values.items()}
        )
