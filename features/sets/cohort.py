"""How customers began, and what became of those who began at the same time."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished
from features.settings import Strict
from features.views import View, currency, days_between, ratio

DECLARE = Declare("cohort")
CATALOGUE = "products"


class CohortConfig(Strict):
    """Length of a cohort."""

    period_days: int = Field(default=30, ge=1)
    """Customers belong together whose first orders lie in the same stretch of so many days,
    counted back from the cutoff."""


class Cohort:
    """The first order: when, what was in it, and how soon the second followed."""

    config: CohortConfig
    reads: tuple[str, ...] = ("order_lines",)

    def __init__(self, config: CohortConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        none, days = "no order was kept", self.config.period_days
        return [
            DECLARE.maybe(
                "age_periods", "periods", f"whole {days} days passed since the first order", none
            ),
            DECLARE.maybe(
                "first_quarter", "quarter", "quarter of the calendar year of the first order", none,
                low=1, high=4,
            ),
            DECLARE.maybe("first_value", "currency", "net value of the first order", none),
            DECLARE.maybe("first_items", "items", "net items of the first order", none),
            DECLARE.maybe("first_lines", "lines", "lines of the first order", none),
            DECLARE.maybe(
                "first_categories", "categories", "different categories in the first order",
                "no order was kept, or the source says no category of a product in it", low=1,
            ),
            DECLARE.share(
                "first_discount_share", "discount over list value of the first order",
                "no order was kept, or the source does not say its discount",
            ),
            DECLARE.maybe(
                "second_after_days", "days", "time from the first order to the second",
                "fewer than two orders",
            ),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with at least one kept order."""
        orders = view.numbered_orders
        first, time = orders.number == 0, orders[c.EVENT_TIME]
        found = orders.group_by(list(KEYS)).aggregate(
            first_time=time.max(where=first),
            second_time=time.max(where=orders.number == 1),
            amount=orders[c.AMOUNT].max(where=first),
            discount=orders[c.DISCOUNT].max(where=first),
            pieces=orders[c.QUANTITY].max(where=first),
            n_lines=orders["lines"].max(where=first),
        )
        if view.has(CATALOGUE):
            found = beside(found, _first_categories(view))
        else:
            found = found.mutate(categories=ibis.null("int64"))
        values = {
            "age_periods": _period(found.first_time, found[c.CUTOFF], self.config),
            "first_quarter": found.first_time.quarter(),
            "first_value": currency(found.amount),
            "first_items": found.pieces,
            "first_lines": found.n_lines,
            "first_categories": found.categories.nullif(0),
            "first_discount_share": ratio(found.discount, found.discount + found.amount),
            "second_after_days": days_between(found.first_time, found.second_time),
        }
        return finished(found.select(*KEYS, **values), self.columns())


class Peers:
    """What is known at the cutoff of the customers whose first order fell into the same period.

    ``of_others``: these values are about other customers, so they change with whom the table
    holds, and a history of one customer posted at request time is not enough to make them. The
    customer itself counts among its peers. All else that a set promises holds.
    """

    config: CohortConfig
    reads: tuple[str, ...] = ("order_lines",)
    of_others = True

    def __init__(self, config: CohortConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        none = "no order was kept, so there is no cohort"
        began = f"customers who began in the same {self.config.period_days} days"
        return [
            DECLARE.maybe("peers_customers", "customers", began, none, low=1),
            DECLARE.share("peers_repeat_share", f"share of {began} and ordered again", none),
            DECLARE.maybe("peers_orders_mean", "orders", f"mean orders of {began}", none, low=1),
            DECLARE.maybe("peers_spend_mean", "currency", f"mean net value of {began}", none),
        ]

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with at least one kept order."""
        orders = view.orders
        own = orders.group_by(list(KEYS)).aggregate(
            first_time=orders[c.EVENT_TIME].min(), n=orders.count(), spend=orders[c.AMOUNT].sum()
        )
        own = own.mutate(period=_period(own.first_time, own[c.CUTOFF], self.config))
        cohorts = own.group_by([c.CUTOFF, "period"]).aggregate(
            customers=own.count(),
            again=own.count(where=own.n > 1),
            orders=own.n.sum(),
            spend=own.spend.sum(),
        )
        found = own.select(*KEYS, "period").join(cohorts, [c.CUTOFF, "period"])
        values = {
            "peers_customers": found.customers,
            "peers_repeat_share": ratio(found.again, found.customers),
            "peers_orders_mean": ratio(found.orders, found.customers),
            "peers_spend_mean": ratio(currency(found.spend), found.customers),
        }
        return finished(found.select(*KEYS, **values), self.columns())


def _period(first: ir.Value, cutoff: ir.Value, config: CohortConfig) -> ir.Value:
    return (days_between(first, cutoff) / float(config.period_days)).floor().cast("int64")


def _first_categories(view: View) -> ir.Table:
    orders, lines = view.numbered_orders, view.order_lines
    order, product = [*KEYS, c.ORDER_REF], [c.CUTOFF, c.PRODUCT]
    first = orders.filter(orders.number == 0).select(*order)
    sold = lines.filter(~lines[c.IS_RETURN]).select(*order, c.PRODUCT)
    known = view.catalogue.select(*product, c.CATEGORY)
    told = sold.join(first, order).join(known, product)
    return told.group_by(list(KEYS)).aggregate(categories=told[c.CATEGORY].nunique())
