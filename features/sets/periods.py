"""What a customer did in each of the last periods: a short history in one row."""

from collections.abc import Callable
from functools import reduce

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished
from features.settings import Strict
from features.views import AGE, View

DECLARE = Declare("periods")
ORDERS = "order_lines"
STARS, POINTS = 4, 9
"""Of a review, and of a survey of recommendation, from which on they are praise."""


def _kind(*kinds: str) -> Callable[[ir.Table], ir.BooleanValue]:
    return lambda rows: rows[c.KIND].isin(kinds)


def _praise(rows: ir.Table) -> ir.BooleanValue:
    kind, score = rows[c.KIND], rows["score"]
    return ((kind == "review") & (score >= STARS)) | ((kind == "nps") & (score >= POINTS))


OBSERVED: dict[str, tuple[str, str, Callable[[ir.Table], ir.BooleanValue]]] = {
    "orders": (ORDERS, "orders kept", lambda rows: rows[AGE].notnull()),
    "visits": ("events", "visits on every channel", _kind("visit")),
    "carts": ("events", "products put into the cart", _kind("cart_add")),
    "opens": ("responses", "messages opened or clicked", _kind("opened", "clicked")),
    "enquiries": ("feedback", "tickets, complaints, calls and chats",
                  _kind("ticket", "complaint", "call", "chat")),
    "praise": ("feedback", "reviews of four stars or more, and promoters' answers", _praise),
    "referrals": ("relations", "customers referred", _kind("referral")),
}  # fmt: skip
"""What is counted -> its table, its meaning, and which rows of the table count."""


class PeriodsConfig(Strict):
    """How long a period is, and how far back it goes."""

    days: int = Field(default=30, ge=1, le=366)
    """Length of a period."""
    count: int = Field(default=12, ge=2, le=60)
    """Number of periods; period 0 is ``[t - days, t)``, period 1 the one before it."""


class Periods:
    """Counts of orders, visits, replies and words by period, newest first.

    A period is missing where it ended before the customer was first heard of, and where the source
    did not observe all of it.
    """

    config: PeriodsConfig
    reads: tuple[str, ...] = (ORDERS,)

    def __init__(self, config: PeriodsConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        days = self.config.days
        missing = "not yet heard of then, or the source did not observe the whole period"
        return [
            DECLARE.maybe(
                f"{name}_p{k}", "events" if name != "orders" else "orders",
                f"{meaning}, {f'{k * days} to {(k + 1) * days}' if k else f'last {days}'} days"
                f"{' ago' if k else ''}",
                missing,
            ).model_copy(update={"window_days": (k + 1) * days})
            for name, (_, meaning, _) in OBSERVED.items()
            for k in range(self.config.count)
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff of whom anything is known."""
        brought = [name for name, (table, *_) in OBSERVED.items() if view.has(table)]
        tables = {OBSERVED[name][0]: self._counted(view, OBSERVED[name][0]) for name in brought}
        if view.has("customers"):
            accounts = view.rows("customers")
            tables["customers"] = accounts.group_by(list(KEYS)).aggregate(
                first_customers=accounts[AGE].max()
            )
        found = beside(view.customers, *tables.values())
        firsts = [found[f"first_{table}"].fill_null(0.0) for table in tables]
        heard = reduce(ibis.greatest, firsts)
        values: dict[str, ir.Value] = {}
        for name, (table, *_) in OBSERVED.items():
            for k in range(self.config.count):
                values[f"{name}_p{k}"] = ibis.null("float64")
                if name in brought:
                    seen = view.observable(found[c.CUTOFF], (k + 1) * self.config.days, table)
                    values[f"{name}_p{k}"] = ibis.ifelse(
                        seen & (heard > k * self.config.days),
                        found[f"{name}_n{k}"].fill_null(0).cast("float64"), None,
                    )  # fmt: skip
        return finished(found.select(*KEYS, **values), self.columns())

    def _counted(self, view: View, table: str) -> ir.Table:
        """Rows of a table by what they count as and period, and the age of the oldest row."""
        rows, days = view.orders if table == ORDERS else view.rows(table), self.config.days
        age = rows[AGE]
        counts = {
            f"{name}_n{k}": rows.count(where=counts(rows) & (age > k * days)
                                       & (age <= (k + 1) * days))
            for name, (own, _, counts) in OBSERVED.items() if own == table
            for k in range(self.config.count)
        }  # fmt: skip
        return rows.group_by(list(KEYS)).aggregate(**{f"first_{table}": age.max()}, **counts)
