"""What customers spend by product category after a cutoff, where the source brings categories."""

import numpy as np
import pandas as pd

from features import columns as c
from training.contract import Floats
from training.pipeline import Prepared
from training.segments.cells import Ints
from training.segments.config import SegmentsPlan


def spend_by_category(plan: SegmentsPlan, prepared: Prepared, customers: Ints) -> Floats | None:
    """Goods sold in the period after the test cutoff, in minor units, before returns.

    Categories are those known at the cutoff; products without one are left out.

    Returns
    -------
    ndarray of shape (n_customers, n_categories), or None
        None where no product sold has a category.
    """
    test, task = prepared.moments.test, plan.task
    with prepared.stored.open(plan.config.sample) as tables:
        view = tables.asof([test])
        if not view.has("products"):
            return None
        known = view.catalogue.filter(view.catalogue[c.CATEGORY].notnull())  # noqa: PD004
        lines = tables.following([test], task.horizon_days, task.maturity_days).order_lines
        sold = lines.filter(~lines[c.IS_RETURN]).select(c.CUSTOMER, c.PRODUCT, c.AMOUNT)
        told = sold.join(known.select(c.PRODUCT, c.CATEGORY), c.PRODUCT)
        sums = told.group_by([c.CUSTOMER, c.CATEGORY]).aggregate(
            spend=told[c.AMOUNT].sum().cast("int64")
        )
        found = tables.backend.to_pyarrow(sums).to_pandas()
    wide = found.pivot_table(index=c.CUSTOMER, columns=c.CATEGORY, values="spend")
    spend: Floats = wide.reindex(pd.Index(customers)).fillna(0.0).to_numpy(np.float64)
    return spend if spend.size and spend.any() else None
