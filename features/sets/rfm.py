"""Recency, frequency, T and monetary value, by the names of the purchase-model literature."""

import ibis.expr.types as ir

from features import columns as c
from features.schema import FeatureColumn
from features.settings import Strict
from features.views import View, currency, days_between


class RfmConfig(Strict):
    """Nothing to set."""


class Rfm:
    """When a customer bought last and first, how often again, and how much an order is worth."""

    config: RfmConfig
    reads = ("order_lines",)

    def __init__(self, config: RfmConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        nothing = "no order that was kept before the cutoff"
        return [
            FeatureColumn(
                name="rfm__recency_days",
                unit="days",
                meaning="time since the last order",
                missing=nothing,
                low=0,
                buying="less",
            ),
            FeatureColumn(
                name="rfm__frequency_orders",
                unit="orders",
                meaning="repeat orders, all but the first",
                missing="never",
                fill=0,
                low=0,
                buying="more",
            ),
            FeatureColumn(
                name="rfm__T_days",
                unit="days",
                meaning="time since the first order",
                missing=nothing,
                low=0,
            ),
            FeatureColumn(
                name="rfm__monetary_value",
                unit="currency",
                meaning="mean value of an order, net of what was taken back",
                missing=nothing,
                low=0,
            ),
        ]

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with at least one kept order."""
        orders = view.orders
        found = orders.group_by([c.CUSTOMER, c.CUTOFF]).aggregate(
            first=orders[c.EVENT_TIME].min(),
            last=orders[c.EVENT_TIME].max(),
            n=orders.count(),
            spend=orders[c.AMOUNT].sum(),
        )
        return found.select(
            c.CUSTOMER,
            c.CUTOFF,
            rfm__recency_days=days_between(found["last"], found[c.CUTOFF]),
            rfm__frequency_orders=(found.n - 1).cast("float64"),
            rfm__T_days=days_between(found["first"], found[c.CUTOFF]),
            rfm__monetary_value=currency(found.spend) / found.n.cast("float64"),
        )
