"""Audiences: who should hear of an item."""

from collections.abc import Collection
from typing import Literal

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import DataError
from training.recommend.catalogue import LEAST
from training.recommend.histories import Histories
from training.recommend.ranker import LOGISTIC
from training.recommend.recommender import ALL, DISCOVERY, Recommender

Who = Literal["all", "repeat", "discovery"]


def audience(
    recommender: Recommender,
    lines: pd.DataFrame,
    product: str,
    size: int,
    who: Who = "discovery",
    without: Collection[int] = (),
) -> pd.DataFrame:
    """The customers who are likeliest to take a product next, best first.

    Lists order items for one customer, and their scores compare nothing else. Customers are ordered
    by the ranker's logistic trees alone, which learned whether a candidate was taken at all.

    Parameters
    ----------
    lines
        Everyone's past as :func:`training.recommend.asof.read_lines` gives it.
    size
        At most so many customers.
    who
        Those who never had it (``discovery``), who had it (``repeat``), or both (``all``).
    without
        Customers to leave out, such as those who did not consent.

    Returns
    -------
    DataFrame
        ``customer_id``, ``rank`` from 1, ``log_odds`` and ``had_before``.

    Raises
    ------
    DataError
        If the product is not offered, no ranker has logistic trees, or fewer than 20 customers are
        left.
    """
    item = recommender.places.get(product)
    if item is None or not recommender.shelf.offered[item]:
        raise DataError(f"{product!r} is not among the items offered, so nobody is told of it")
    ranker = recommender.rankers[DISCOVERY if who == "discovery" else ALL]
    if LOGISTIC not in ranker.config.objectives:
        raise DataError(f"audiences need a ranker with {LOGISTIC!r} among its objectives")
    if size < LEAST:
        raise DataError(f"an audience has {LEAST} customers at least, {size} were asked for")
    customers, past = everyone(recommender, lines)
    only = np.zeros(past.n_items, bool)
    only[item] = True
    odds, had = np.zeros(len(past)), np.zeros(len(past), bool)
    for shard, some in past.shards(recommender.shelf.shard):
        found = recommender.shelf.candidates(some, only)
        rows = np.flatnonzero(found.item == item)  # one of each customer
        odds[shard], had[shard] = ranker.log_odds(found.X[rows]), found.bought[rows]
    kept = {"all": np.ones(len(past), bool), "repeat": had, "discovery": ~had}[who]
    kept &= ~np.isin(customers, list(without))
    if kept.sum() < LEAST:
        raise DataError(
            f"{product!r}: an audience of {int(kept.sum())} customers is not given: fewer than "
            f"{LEAST} could be told apart"
        )
    order = np.lexsort((customers, -odds))
    order = order[kept[order]][:size]
    return pd.DataFrame(
        {
            c.CUSTOMER: customers[order], "rank": np.arange(1, len(order) + 1),
            "log_odds": odds[order], "had_before": had[order],
        }
    )  # fmt: skip


def everyone(recommender: Recommender, lines: pd.DataFrame) -> tuple[np.ndarray, Histories]:
    """Customers and their histories; items that are not in the catalogue say nothing."""
    place = lines["product_id"].map(recommender.places)
    kept = place.notna().to_numpy()
    known = lines[kept]
    customers, owner = np.unique(known[c.CUSTOMER].to_numpy(), return_inverse=True)
    item = place[kept].to_numpy(np.int64)
    quantity = known["quantity"].to_numpy(np.float64)
    columns = {
        "customer": owner, "item": item, "age": known["days_ago"].to_numpy(np.int64),
        "quantity": quantity, "amount": recommender.shelf.demand.price[item] * quantity,
    }  # fmt: skip
    return customers, Histories.of(columns, len(customers), len(recommender.places))
