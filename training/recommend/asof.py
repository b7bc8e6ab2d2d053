"""A source as seen from one cutoff: histories, the catalogue then known, and what followed."""

from dataclasses import dataclass, replace
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from features import columns as c
from features.tables import Tables
from features.views import View
from training.questions import ORDERS
from training.recommend.catalogue import Attributes
from training.recommend.histories import Histories, Ints
from training.rows import places_of
from training.tasks.recommend import PURCHASES, Interactions, Segment

MINOR = 100.0
WORDS = ("name", c.CATEGORY, "brand")


@dataclass(frozen=True)
class AsOf:
    """What was known at a cutoff, and the truth of the window after it."""

    cutoff: datetime
    customers: Ints
    """Internal ids in order of place: whoever bought anything before."""
    past: Histories
    attributes: Attributes
    truth: sp.csr_matrix
    """1 = bought in the window, shape (n_customers, n_items); items known at the cutoff."""
    beyond: Ints
    """Further items that each customer bought and that were not known at the cutoff."""
    segment: tuple[str, ...] = ()
    """Segment of each customer who was known, "" = not known; empty = there are no segments."""
    newcomers: float = 0.0
    """Share of those who bought in the window of whom nothing was known."""

    def take(self, places: Ints) -> "AsOf":
        """Some of the customers; what is known of items stays everyone's."""
        return replace(
            self, customers=self.customers[places], past=self.past.take(places),
            truth=self.truth[places], beyond=self.beyond[places], segment=(),
        )  # fmt: skip

    @property
    def asked(self) -> Ints:
        """Places of the customers who bought anything in the window."""
        return np.flatnonzero(np.diff(self.truth.indptr) + self.beyond > 0)


def read_asof(
    tables: Tables, cutoff: datetime, horizon_days: int, maturity_days: int,
    interactions: Interactions = PURCHASES, next_basket: bool = False,
    segment: Segment | None = None,
) -> AsOf:  # fmt: skip
    """Histories before ``cutoff`` and what was done in ``[cutoff, cutoff + horizon)``.

    ``next_basket``: on the first day of it alone on which the customer did anything.
    """
    view = tables.asof([cutoff])
    lines = _lines(view, interactions).to_pyarrow()
    listed = _listed(view)
    products = pa.array(sorted({*lines[c.PRODUCT].unique().to_pylist(), *listed}), pa.string())
    ids = lines[c.CUSTOMER].to_numpy()
    known = pd.Index(places_of(tables).reindex(np.unique(ids)).sort_values().index)
    days = lines["day"].to_numpy()
    columns = {
        "customer": known.get_indexer(ids),
        "item": _places(lines[c.PRODUCT], products),
        "age": _day(cutoff) - days,
        "quantity": lines[c.QUANTITY].to_numpy(),
        "amount": lines[c.AMOUNT].to_numpy() / MINOR,
    }
    past = Histories.of(columns, len(known), len(products))
    after = _lines(tables.following([cutoff], horizon_days, maturity_days), interactions)
    if next_basket:
        first = after.day.min().over(ibis.window(group_by=c.CUSTOMER))
        after = after.filter(after.day == first)
    following = after.to_pyarrow()
    truth, beyond = _truth(following, known, products)
    came = np.unique(following[c.CUSTOMER].to_numpy())
    return AsOf(
        cutoff, known.to_numpy(), past, _attributes(products.to_pylist(), listed), truth, beyond,
        _segments(view, segment, known),
        float((~np.isin(came, known)).sum() / max(len(came), 1)),
    )  # fmt: skip


def read_lines(tables: Tables, cutoff: datetime, interactions: Interactions) -> pd.DataFrame:
    """Interactions before ``cutoff`` as a bundle takes them.

    Returns
    -------
    DataFrame
        ``customer_id``, ``product_id``, ``days_ago`` (1 = the day before the cutoff), ``quantity``.
    """
    lines = _lines(tables.asof([cutoff]), interactions).to_pyarrow().to_pandas()
    return pd.DataFrame(
        {
            c.CUSTOMER: lines[c.CUSTOMER],
            c.PRODUCT: lines[c.PRODUCT],
            "days_ago": (_day(cutoff) - lines["day"]).astype(float),
            "quantity": lines[c.QUANTITY].astype(float),
        }
    )


def _lines(view: View, interactions: Interactions) -> ir.Table:
    """Customer, item, day, quantity and amount of each interaction, as far as known then.

    Goods bought are net of what was taken back; what costs nothing has a missing amount.
    """
    if interactions.table == ORDERS:
        lines = view.order_lines
        kept = lines.group_by([c.CUSTOMER, c.ORDER_REF, c.PRODUCT]).aggregate(
            time=lines[c.EVENT_TIME].min(where=~lines[c.IS_RETURN]),
            **{c.QUANTITY: lines[c.QUANTITY].sum(), c.AMOUNT: lines[c.AMOUNT].sum()},
        )
        kept = kept.filter(kept.time.notnull(), kept[c.QUANTITY] > 0)  # noqa: PD004  (Ibis)
    else:
        rows = interactions.of(view)
        item = rows[interactions.item].cast("string")
        kept = rows.filter(item.notnull()).select(  # noqa: PD004  (Ibis)
            c.CUSTOMER, time=rows[c.EVENT_TIME],
            **{c.PRODUCT: item, c.QUANTITY: ibis.literal(1), c.AMOUNT: ibis.null("int64")},
        )  # fmt: skip
    return kept.select(
        c.CUSTOMER, c.PRODUCT,
        day=(kept.time.truncate("D").epoch_seconds() // 86_400).cast("int64"),
        **{name: kept[name].cast("int64") for name in (c.QUANTITY, c.AMOUNT)},
    ).order_by([c.CUSTOMER, "day", c.PRODUCT])  # fmt: skip


def _listed(view: View) -> dict[str, dict[str, object]]:
    """Product -> what the source said of it last before the cutoff."""
    if not view.has("products"):
        return {}
    latest = view.latest("products", by=(c.PRODUCT,))
    rows = latest.select(c.PRODUCT, *WORDS, "price_minor").to_pyarrow().to_pylist()
    return {row[c.PRODUCT]: row for row in rows}


def _attributes(products: list[str], listed: dict[str, dict[str, object]]) -> Attributes:
    codes = tuple(products)
    if not listed:
        return Attributes(codes)
    rows = [listed.get(code, {}) for code in codes]
    names, categories, brands = (tuple(str(r.get(w) or "") for r in rows) for w in WORDS)
    minor = [row.get("price_minor") for row in rows]
    prices = np.array([np.nan if m is None else float(str(m)) / MINOR for m in minor])
    names, categories, brands = (
        words if any(words) else () for words in (names, categories, brands)
    )
    return Attributes(codes, names, categories, brands, prices)


def _segments(view: View, said: Segment | None, customers: pd.Index) -> tuple[str, ...]:
    """Each customer's segment as the source said it last; empty where it says none."""
    if said is None or not view.has(said.table):
        return ()
    latest = view.latest(said.table)
    if said.column not in latest.columns:
        return ()
    rows = latest.select(c.CUSTOMER, said.column).to_pyarrow()
    known = dict(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))
    return tuple(str(known.get(customer) or "") for customer in customers.tolist())


def _places(codes: pa.ChunkedArray, products: pa.Array) -> Ints:
    """Where each code stands among ``products``; -1 = nowhere."""
    found = pc.index_in(codes, value_set=products)
    return np.asarray(found.fill_null(-1).to_numpy(), np.int64)


def _truth(
    following: pa.Table, customers: pd.Index, products: pa.Array
) -> tuple[sp.csr_matrix, Ints]:
    codes, owner = following[c.PRODUCT], customers.get_indexer(following[c.CUSTOMER].to_numpy())
    known = owner >= 0
    owner = owner[known]
    item = _places(codes, products)[known]
    shape = (len(customers), len(products))
    there = item >= 0
    made = sp.csr_matrix((np.ones(int(there.sum())), (owner[there], item[there])), shape)
    made.sum_duplicates()
    made.data[:] = 1.0
    number = _places(codes, codes.unique())[known]
    new = np.unique(np.column_stack([owner, number])[~there], axis=0)[:, 0]
    return made, np.bincount(new, minlength=len(customers)).astype(np.int64)


def _day(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1)).days
