"""Groups of customers that answers are judged on apart."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Groups = Mapping[str, NDArray[np.bool_]]

MOST_WORDS = 8
"""Words of an attribute that are groups of their own; rarer ones are left out."""


def usual_slices(X: pd.DataFrame) -> Groups:
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


def audit_slices(audit: pd.DataFrame) -> Groups:
    """By each audit attribute, which no model has learned from: its words, or thirds of a number.

    Customers without a value are a group too: who keeps it to himself is not to fare worse.
    """
    groups: dict[str, NDArray[np.bool_]] = {}
    for name in audit.columns:
        column = audit[name]
        unknown = column.isna().to_numpy()
        if pd.api.types.is_numeric_dtype(column):
            known = column.to_numpy(np.float64)[~unknown]
            edges = np.unique(np.quantile(known, [1 / 3, 2 / 3])) if len(known) else known
            third = np.searchsorted(edges, column.to_numpy(np.float64), side="left")
            said = [f"up to {edge:g}" for edge in edges] + [f"above {e:g}" for e in edges[-1:]]
            for number, word in enumerate(said):
                groups[f"{name} {word}"] = (third == number) & ~unknown
        else:
            for word in column.value_counts().index[:MOST_WORDS]:
                groups[f"{name} = {word}"] = (column == word).to_numpy(bool)
        if unknown.any():
            groups[f"{name} unknown"] = unknown
    return groups
