"""Reasons that customers state themselves: what they wrote about before the cutoff."""

from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import columns as c
from features.tables import Stored
from features.views import AGE
from training.report import Section
from training.rows import Rows
from training.supervised.case import SupervisedCase

TABLE, TOPIC = "feedback", "topic"
DAYS = 365
"""How far back feedback is looked at."""
LEAST = 10
"""Topics that fewer of the customers asked wrote about are not told: they could be told apart."""


def stated(
    stored: Stored, test: datetime, rows: Rows, named: NDArray[np.bool_]
) -> pd.DataFrame | None:
    """Topics of the feedback known at ``test``: who wrote of them, named or not, and what came.

    Parameters
    ----------
    named
        Which of ``rows`` are at or above the threshold.

    Returns
    -------
    DataFrame or None
        By topic: customers, share of those named and of the others who wrote of it, and the rate
        of the event among them; None where the source brings no feedback that was filed by topic.
    """
    tables = stored.open()
    try:
        if TABLE not in tables.tables:
            return None
        said = tables.asof([test]).rows(TABLE)
        said = said.filter(said[TOPIC].notnull(), said[AGE] <= DAYS)  # noqa: PD004 (it is Ibis)
        found = tables.backend.to_pyarrow(said.select(c.CUSTOMER, TOPIC).distinct()).to_pandas()
    finally:
        tables.backend.disconnect()
    asked = pd.DataFrame({c.CUSTOMER: rows.customers, "named": named, "label": rows.y})
    both = found.merge(asked, on=c.CUSTOMER)
    told = both.groupby(TOPIC).agg(
        customers=("label", "size"), named=("named", "sum"), rate=("label", "mean")
    )
    told = told[told["customers"] >= LEAST]
    if told.empty:
        return None
    others = told["customers"] - told["named"]
    told["share_of_named"] = told["named"] / max(int(named.sum()), 1)
    told["share_of_others"] = others / max(int((~named).sum()), 1)
    kept = ["customers", "share_of_named", "share_of_others", "rate"]
    return told[kept].sort_values("customers", ascending=False).reset_index()


def sections(case: SupervisedCase) -> list[Section]:
    """Of events with a clock, where the source brings what customers wrote."""
    if case.judged.kind != "event" or case.crossed:
        return []
    found = stated(case.prepared.stored, case.test, case.rows, case.named)
    return [] if found is None else [section(found)]


def section(found: pd.DataFrame) -> Section:
    """The section of the card, beside the reasons that were learned."""
    text = (
        f"What customers wrote about in the {DAYS} days before the test cutoff, by the topic that "
        "was filed: the share of those at or above the threshold who did, the share of the others, "
        "and the rate of the event among all who did. Hold it against the reasons by theme: a "
        "customer who says nothing has reasons too."
    )
    return Section("Reasons that customers state", [text], found.round(4), files={"stated": found})
