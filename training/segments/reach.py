"""Who of a segment may be spoken to, by channel: a segment that nobody may reach is of no use."""

import numpy as np
import pandas as pd

from features import columns as c
from features.consent import CONSENTS, allowed
from training.pipeline import Prepared
from training.segments.cells import Ints
from training.segments.config import SegmentsPlan
from training.segments.profile import LEAST_SHOWN

PURPOSE, ANY = "marketing", "any channel"


def reached(
    plan: SegmentsPlan, prepared: Prepared, customers: Ints, labels: Ints, ids: list[str]
) -> pd.DataFrame | None:
    """Share of each segment that allows marketing at the test cutoff; None: nobody was asked.

    Returns
    -------
    DataFrame
        segment, a column for each channel of the ledger, and ``any channel``; missing for segments
        of fewer than 20 customers.
    """
    tables = prepared.stored.open(plan.config.sample)
    try:
        view = tables.asof([prepared.moments.test])
        if not view.has(CONSENTS):
            return None
        rows = view.rows(CONSENTS)
        named = rows.filter(rows["purpose"] == PURPOSE).select(c.CHANNEL).distinct().to_pyarrow()
        channels = sorted(name for name in named[c.CHANNEL].to_pylist() if name is not None)
        may = {
            channel: np.isin(
                customers, allowed(view, PURPOSE, channel).to_pyarrow()[c.CUSTOMER].to_numpy()
            )
            for channel in channels
        }
    finally:
        tables.backend.disconnect()
    may[ANY] = np.any([*may.values(), np.zeros(len(customers), np.bool_)], axis=0)
    table = pd.DataFrame(may).groupby(labels).mean().reindex(range(len(ids)))
    few = np.bincount(labels, minlength=len(ids)) < LEAST_SHOWN
    table[few] = np.nan
    table.insert(0, "segment", ids)
    return table
