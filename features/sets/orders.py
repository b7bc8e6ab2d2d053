"""What customers order: amounts over windows, baskets, trend, last orders, returns, discounts."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished
from features.settings import Strict
from features.views import AGE, View, currency, days_between, ratio

YEAR = 365
DECLARE = Declare("orders")


class OrdersConfig(Strict):
    """Windows of the order features."""

    windows_days: tuple[int, ...] = (30, 90, 180, YEAR)
    """Windows ``[t - w, t)`` for sums, counts and baskets."""
    trends_days: tuple[tuple[int, int], ...] = ((30, 60), (90, 180), (30, YEAR))
    """A short window against the long one that holds it: twice as long, it is the short window
    against the one before it."""
    season_days: int = Field(default=90, ge=1, le=YEAR)
    """The season ahead, a year ago: ``[t - 365, t - 365 + season_days)``."""


class Orders:
    """Order history before the cutoff, net of what was taken back."""

    config: OrdersConfig
    reads: tuple[str, ...] = ("order_lines",)

    def __init__(self, config: OrdersConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        return [*self._amounts(), *self._trends(), *self._last(), *_given_back(), *self._season()]

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with at least one row in the past."""
        found = beside(view.customers, self._sums(view), _last_orders(view), _returns(view))
        n, spend = found.n, found.spend
        discounted, list_value = found.discount_365, found.discount_365 + found.discountable_365
        observable = view.observable(found[c.CUTOFF], YEAR)
        values = {
            "spend_total": currency(spend),
            "active_months": found.months,
            "basket_items": ratio(found.pieces, n),
            "basket_lines": ratio(found.n_lines, n),
            "last_order_value": currency(found.last_amount),
            "last_over_mean": ratio(found.last_amount * n, spend),
            "trend_orders": ratio(found.n_182, found.n_365),
            "trend_spend": ratio(found.spend_91.fill_null(0), found.spend_365),
            "since_second_last_days": days_between(found.second_last, found[c.CUTOFF]),
            "since_third_last_days": days_between(found.third_last, found[c.CUTOFF]),
            "returns_365d": found.returns,
            "returned_spend_365d": currency(found.returned),
            "refund_rate_365d": ratio(
                found.returned.fill_null(0),
                found.returned.fill_null(0) + found.spend_365.fill_null(0),
            ),
            "discount_share_365d": ratio(discounted, list_value),
            "discounted_orders_share_365d": ratio(found.n_discounted_365, found.n_discountable_365),
        }
        for quantity, total in (
            ("season_orders", found.season_n),
            ("season_spend", currency(found.season_amount)),
        ):
            values[quantity] = ibis.ifelse(observable, total.fill_null(0), None)
        for days in self.config.windows_days:
            orders, amount = found[f"n_{days}"], found[f"spend_{days}"]
            items = found[f"items_{days}"]
            values |= {
                f"orders_{days}d": orders,
                f"spend_{days}d": currency(amount),
                f"items_{days}d": items,
                f"basket_value_{days}d": ratio(currency(amount), orders),
                f"basket_items_{days}d": ratio(items, orders),
            }
        for short, long in self.config.trends_days:
            for name, of in (("orders", "n"), ("spend", "spend")):
                part = found[f"{of}_{short}"].fill_null(0)
                values[f"{name}_{short}d_of_{long}d"] = ratio(part, found[f"{of}_{long}"])
        return finished(found.select(*KEYS, **values), self.columns())

    def _sums(self, view: View) -> ir.Table:
        """Everything that is a sum over orders, in one aggregation."""
        orders = view.orders
        age, amount, discount = orders[AGE], orders[c.AMOUNT], orders[c.DISCOUNT]
        year = age <= YEAR
        told = year & discount.notnull()
        ahead = year & (age > YEAR - self.config.season_days)
        sums = {
            "n": orders.count(),
            "spend": amount.sum(),
            "pieces": orders[c.QUANTITY].sum(),
            "n_lines": orders["lines"].sum(),
            "months": (age / 30.0).floor().cast("int64").nunique(where=age < 360),
            "n_182": orders.count(where=age <= YEAR / 2),
            "spend_91": amount.sum(where=age <= YEAR / 4),
            "season_n": orders.count(where=ahead),
            "season_amount": amount.sum(where=ahead),
            "discount_365": discount.sum(where=told),
            "discountable_365": amount.sum(where=told),
            "n_discountable_365": orders.count(where=told),
            "n_discounted_365": orders.count(where=told & (discount > 0)),
        }
        shares = [days for pair in self.config.trends_days for days in pair]
        for days in sorted({*self.config.windows_days, *shares, YEAR}):
            inside = age <= days
            sums[f"n_{days}"] = orders.count(where=inside)
            sums[f"spend_{days}"] = amount.sum(where=inside)
            sums[f"items_{days}"] = orders[c.QUANTITY].sum(where=inside)
        return orders.group_by(list(KEYS)).aggregate(**sums)

    def _amounts(self) -> list[FeatureColumn]:
        columns = []
        for days in self.config.windows_days:
            none = f"no order in the last {days} days"
            columns += [
                DECLARE.zero("orders", "orders", "orders", days, buying="more"),
                DECLARE.zero("spend", "currency", "net value of orders", days),
                DECLARE.zero("items", "items", "net items ordered", days),
                DECLARE.maybe("basket_value", "currency", "mean value of an order", none, days),
                DECLARE.maybe("basket_items", "items", "mean items of an order", none, days),
            ]
        none = "no order was kept"
        return [
            *columns,
            DECLARE.zero("spend_total", "currency", "net value of all orders"),
            _within(
                360,
                DECLARE.zero(
                    "active_months",
                    "months",
                    "months of 30 days with an order, last 360 days",
                    buying="more",
                ),  # fmt: skip
            ),
            DECLARE.maybe("basket_items", "items", "mean items of an order", none),
            DECLARE.maybe("basket_lines", "lines", "mean lines of an order", none),
        ]

    def _trends(self) -> list[FeatureColumn]:
        none = f"no order in the last {YEAR} days"
        half, quarter = "orders in its second half", "spend in its last quarter"
        columns = [
            DECLARE.share("trend_orders", f"share of the last year's {half}", none),
            DECLARE.share("trend_spend", f"share of the last year's {quarter}", none),
        ]
        columns = [_within(YEAR, column) for column in columns]
        for short, long in self.config.trends_days:
            columns += [
                _within(
                    long,
                    DECLARE.share(
                        f"{name}_{short}d_of_{long}d",
                        f"share of the {name} of the last {long} days that the last {short} hold",
                        f"no order in the last {long} days",
                    ),
                )
                for name in ("orders", "spend")
            ]
        return columns

    def _last(self) -> list[FeatureColumn]:
        none = "no order was kept"
        return [
            DECLARE.maybe("last_order_value", "currency", "net value of the last order", none),
            DECLARE.maybe(
                "last_over_mean", "ratio", "value of the last order over the mean", none
            ),
            DECLARE.maybe(
                "since_second_last_days", "days", "time since the order before the last",
                "fewer than two orders",
            ),
            DECLARE.maybe(
                "since_third_last_days", "days", "time since the third order from the end",
                "fewer than three orders",
            ),
        ]  # fmt: skip

    def _season(self) -> list[FeatureColumn]:
        days = self.config.season_days
        return [
            _within(
                YEAR,
                DECLARE.maybe(
                    f"season_{name}", unit,
                    f"{name} in the {days} days that follow the day a year ago",
                    "the data begin less than a year before the cutoff",
                ),
            )
            for name, unit in (("orders", "orders"), ("spend", "currency"))
        ]  # fmt: skip


def _given_back() -> list[FeatureColumn]:
    untold = "no order in that time of which the source says the discount"
    return [
        DECLARE.zero("returns", "lines", "lines taken back", YEAR),
        DECLARE.zero("returned_spend", "currency", "value taken back", YEAR),
        DECLARE.share(
            "refund_rate", "value taken back over what was kept and taken back together",
            "nothing kept or taken back in that time", YEAR,
        ),
        DECLARE.share("discount_share", "discount over list value of orders", untold, YEAR),
        DECLARE.share(
            "discounted_orders_share", "share of orders with a discount", untold, YEAR
        ),
    ]  # fmt: skip


def _last_orders(view: View) -> ir.Table:
    orders = view.numbered_orders
    time = orders[c.EVENT_TIME]
    return orders.group_by(list(KEYS)).aggregate(
        last_amount=orders[c.AMOUNT].max(where=orders.back == 0),
        second_last=time.max(where=orders.back == 1),
        third_last=time.max(where=orders.back == 2),
    )


def _returns(view: View) -> ir.Table:
    lines = view.returns
    recent = lines[AGE] <= YEAR
    return lines.group_by(list(KEYS)).aggregate(
        returns=lines.count(where=recent), returned=-lines[c.AMOUNT].sum(where=recent)
    )


def _within(days: int, column: FeatureColumn) -> FeatureColumn:
    """``column`` with the window that its name does not end in."""
    return column.model_copy(update={"window_days": days})
