"""What customers order: amounts over windows, baskets, rhythm, trend, returns, breadth, season."""

from datetime import timedelta

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.settings import Strict
from features.views import View, currency, days_between, ratio

YEAR = 365


class OrdersConfig(Strict):
    """Windows of the order features."""

    windows_days: tuple[int, ...] = (30, 90, 180, 365)
    """Windows ``[t - w, t)`` for sums and counts."""
    season_days: int = Field(default=90, ge=1, le=YEAR)
    """The season ahead, a year ago: ``[t - 365, t - 365 + season_days)``."""


class Orders:
    """Order history before the cutoff, net of what was taken back."""

    config: OrdersConfig

    def __init__(self, config: OrdersConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        columns = []
        for days in self.config.windows_days:
            within = f"in the last {days} days"
            columns += [
                _zero(f"orders__orders_{days}d", "orders", f"orders {within}"),
                _zero(f"orders__spend_{days}d", "currency", f"net value of orders {within}"),
                _zero(f"orders__items_{days}d", "items", f"net items ordered {within}"),
            ]
        none, single = "no order was kept", "fewer than two days with an order"
        year = f"in the last {YEAR} days"
        return [
            *columns,
            _zero("orders__spend_total", "currency", "net value of all orders"),
            _zero(
                "orders__active_months", "months", "months of 30 days with an order, last 360 days"
            ),
            _maybe("orders__basket_items", "items", "mean items of an order", none),
            _maybe("orders__basket_lines", "lines", "mean lines of an order", none),
            _maybe("orders__last_order_value", "currency", "net value of the last order", none),
            _maybe(
                "orders__last_over_mean", "ratio", "value of the last order over the mean", none
            ),
            _maybe("orders__gap_mean_days", "days", "mean gap between days with an order", single),
            _maybe(
                "orders__gap_sd_days",
                "days",
                "standard deviation of those gaps",
                "fewer than two gaps",
            ),
            _maybe("orders__gap_last_days", "days", "the most recent of those gaps", single),
            _maybe("orders__gap_max_days", "days", "the longest of those gaps", single),
            _maybe(
                "orders__overdue_ratio",
                "ratio",
                "time since the last order over the mean gap",
                single,
            ),
            _maybe(
                "orders__trend_orders",
                "ratio",
                "share of the last year's orders in its second half",
                f"no order {year}",
                high=1,
            ),
            _maybe(
                "orders__trend_spend",
                "ratio",
                "share of the last year's spend in its last quarter",
                f"no order {year}",
                high=1,
            ),
            _zero("orders__returns_365d", "lines", f"lines taken back {year}"),
            _zero("orders__returned_spend_365d", "currency", f"value taken back {year}"),
            _zero("orders__products_total", "products", "different products ever bought"),
            _zero("orders__products_365d", "products", f"different products bought {year}"),
            _season(self.config, "orders", "orders"),
            _season(self.config, "spend", "currency"),
        ]

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with at least one row in the past."""
        base = view.customers
        parts = [self._sums(view), self._gaps(view), self._lines(view)]
        for part in parts:
            base = base.left_join(part, [c.CUSTOMER, c.CUTOFF]).drop(
                f"{c.CUSTOMER}_right", f"{c.CUTOFF}_right"
            )
        observable = base[c.CUTOFF] >= ibis.literal(
            view.began + timedelta(days=YEAR), type="timestamp(6)"
        )
        derived = base.mutate(
            orders__overdue_ratio=ratio(
                days_between(base.last_day, base[c.CUTOFF]), base.orders__gap_mean_days
            ),
            orders__season_orders=ibis.ifelse(
                observable, base.season_orders.fill_null(0), None
            ).cast("float64"),
            orders__season_spend=ibis.ifelse(observable, base.season_spend.fill_null(0), None).cast(
                "float64"
            ),
        )
        filled = {
            column.name: derived[column.name].fill_null(column.fill)
            for column in self.columns()
            if column.fill is not None
        }
        return derived.mutate(**filled).select(
            c.CUSTOMER, c.CUTOFF, *[k.name for k in self.columns()]
        )

    def _sums(self, view: View) -> ir.Table:
        orders = view.orders
        age = days_between(orders[c.EVENT_TIME], orders[c.CUTOFF])
        amount, items = orders[c.AMOUNT], orders[c.QUANTITY]
        ahead = (age <= YEAR) & (age > YEAR - self.config.season_days)
        sums = {
            "n": orders.count(),
            "spend": amount.sum(),
            "items": items.sum(),
            "n_lines": orders["lines"].sum(),
            "last_amount": amount.argmax(
                ibis.struct({"t": orders[c.EVENT_TIME], "o": orders[c.ORDER_REF]})
            ),
            "months": (age / 30.0).floor().cast("int64").nunique(where=age < 360),
            "n_365": orders.count(where=age <= YEAR),
            "n_182": orders.count(where=age <= YEAR / 2),
            "spend_365": amount.sum(where=age <= YEAR),
            "spend_91": amount.sum(where=age <= YEAR / 4),
            "season_orders": orders.count(where=ahead),
            "season_spend": currency(amount.sum(where=ahead)),
        }
        for days in self.config.windows_days:
            inside = age <= days
            sums[f"orders__orders_{days}d"] = orders.count(where=inside).cast("float64")
            sums[f"orders__spend_{days}d"] = currency(amount.sum(where=inside))
            sums[f"orders__items_{days}d"] = items.sum(where=inside).cast("float64")
        found = orders.group_by([c.CUSTOMER, c.CUTOFF]).aggregate(**sums)
        n = found.n.cast("float64")
        return found.mutate(
            orders__spend_total=currency(found.spend),
            orders__active_months=found.months.cast("float64"),
            orders__basket_items=found["items"].cast("float64") / n,
            orders__basket_lines=found.n_lines.cast("float64") / n,
            orders__last_order_value=currency(found.last_amount),
            orders__last_over_mean=ratio(found.last_amount * found.n, found.spend),
            orders__trend_orders=ratio(found.n_182, found.n_365),
            orders__trend_spend=ratio(found.spend_91.fill_null(0), found.spend_365),
        )

    def _gaps(self, view: View) -> ir.Table:
        """Gaps are whole days between days with an order; their sums are integers, so exact."""
        orders = view.orders
        day = (orders[c.EVENT_TIME].truncate("D").epoch_seconds() // 86_400).cast("int64")
        days = orders.select(c.CUSTOMER, c.CUTOFF, day=day).distinct()
        history = ibis.window(group_by=[c.CUSTOMER, c.CUTOFF], order_by=days.day)
        gaps = days.mutate(gap=days.day - days.day.lag().over(history))
        found = gaps.group_by([c.CUSTOMER, c.CUTOFF]).aggregate(
            n_gaps=gaps.gap.count(),
            total=gaps.gap.sum(),
            squares=(gaps.gap * gaps.gap).sum(),
            longest=gaps.gap.max(),
            latest=gaps.gap.argmax(gaps.day),
            last=gaps.day.max(),
        )
        n, total = found.n_gaps.cast("float64"), found.total.cast("float64")
        spread = (found.squares.cast("float64") - total * total / n) / (n - 1.0)
        return found.select(
            c.CUSTOMER,
            c.CUTOFF,
            last_day=(found["last"] * 86_400).as_timestamp("s"),
            orders__gap_mean_days=ratio(found.total, found.n_gaps),
            orders__gap_sd_days=ibis.ifelse(
                found.n_gaps >= 2, ibis.greatest(spread, 0.0).sqrt(), None
            ).cast("float64"),
            orders__gap_last_days=found.latest.cast("float64"),
            orders__gap_max_days=found.longest.cast("float64"),
        )

    def _lines(self, view: View) -> ir.Table:
        lines = view.order_lines
        recent = days_between(lines[c.EVENT_TIME], lines[c.CUTOFF]) <= YEAR
        back, sold = lines[c.IS_RETURN], ~lines[c.IS_RETURN]
        return lines.group_by([c.CUSTOMER, c.CUTOFF]).aggregate(
            orders__returns_365d=lines.count(where=back & recent).cast("float64"),
            orders__returned_spend_365d=currency(-lines[c.AMOUNT].sum(where=back & recent)),
            orders__products_total=lines[c.PRODUCT].nunique(where=sold).cast("float64"),
            orders__products_365d=lines[c.PRODUCT].nunique(where=sold & recent).cast("float64"),
        )


def _zero(name: str, unit: str, meaning: str) -> FeatureColumn:
    return FeatureColumn(name=name, unit=unit, meaning=meaning, missing="never", fill=0, low=0)


def _maybe(
    name: str, unit: str, meaning: str, missing: str, high: float | None = None
) -> FeatureColumn:
    return FeatureColumn(name=name, unit=unit, meaning=meaning, missing=missing, low=0, high=high)


def _season(config: OrdersConfig, quantity: str, unit: str) -> FeatureColumn:
    return FeatureColumn(
        name=f"orders__season_{quantity}",
        unit=unit,
        meaning=f"{quantity} in the {config.season_days} days that follow the day a year ago",
        missing="the data begin less than a year before the cutoff",
        low=0,
    )
