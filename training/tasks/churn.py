"""Churn without a contract: no purchase within the horizon, among customers who are active."""

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from features import columns as c
from features.settings import Strict
from features.views import View, days_between
from training.contract import LABEL


class ChurnConfig(Strict):
    """What churn means here."""

    horizon_days: int = Field(default=90, ge=1, le=730)
    """Length of the window ``[t, t + horizon)`` in which nothing is bought."""
    active_within_days: int = Field(default=365, ge=1)
    """Asked about are customers with an order kept in ``[t - active_within, t)``."""
    maturity_days: int = Field(default=0, ge=0)
    """Days after the window until all its rows are known."""


class Churn:
    """Whether an active customer buys nothing within the horizon."""

    config: ChurnConfig
    name = "churn"
    output = "churn_probability"
    kind = "event"

    def __init__(self, config: ChurnConfig) -> None:
        self.config = config
        self.question = (
            f"Will a customer with an order in the last {config.active_within_days} days "
            f"buy nothing in the next {config.horizon_days} days?"
        )

    @property
    def horizon_days(self) -> int:
        """Length of the label window."""
        return self.config.horizon_days

    @property
    def maturity_days(self) -> int:
        """Days until the window's rows are known."""
        return self.config.maturity_days

    def spine(self, view: View) -> ir.Table:
        """Customers whose last kept order is at most ``active_within_days`` old."""
        orders = view.orders
        age = days_between(orders[c.EVENT_TIME], orders[c.CUTOFF])
        return (
            orders.filter(age <= self.config.active_within_days)
            .select(c.CUSTOMER, c.CUTOFF)
            .distinct()
        )

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        """1 where no order of the window was kept, else 0."""
        bought = (
            following.orders.select(c.CUSTOMER, c.CUTOFF)
            .distinct()
            .mutate(bought=ibis.literal(True))
        )
        joined = spine.left_join(bought, [c.CUSTOMER, c.CUTOFF])
        label = (~joined.bought.fill_null(False)).cast("float64")
        return joined.select(c.CUSTOMER, c.CUTOFF, **{LABEL: label})

    def slices(self, X: pd.DataFrame) -> Mapping[str, NDArray[np.bool_]]:
        """By how often, how recently and for how much a customer bought.

        Absent columns give no slice.
        """
        groups: dict[str, NDArray[np.bool_]] = {}
        if "rfm__frequency_orders" in X:
            repeats = X["rfm__frequency_orders"].to_numpy()
            groups |= {
                "one order": repeats == 0,
                "2 to 4 orders": (repeats >= 1) & (repeats <= 3),
                "5 or more orders": repeats >= 4,
            }
        if "rfm__recency_days" in X:
            recency = X["rfm__recency_days"].to_numpy()
            groups |= {
                "last order within 60 days": recency < 60,
                "last order 60 to 180 days ago": (recency >= 60) & (recency < 180),
                "last order 180 or more days ago": recency >= 180,
            }
        if "rfm__T_days" in X:
            tenure = X["rfm__T_days"].to_numpy()
            groups |= {
                "known less than a year": tenure < 365,
                "known a year or more": tenure >= 365,
            }
        if "rfm__monetary_value" in X:
            value = X["rfm__monetary_value"].to_numpy()
            top = value >= np.nanquantile(value, 0.9)
            groups |= {"highest tenth of order value": top, "other order values": ~top}
        return groups
