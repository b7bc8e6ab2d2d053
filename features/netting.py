"""Order lines: what a line is worth, and which order a return takes back."""

import ibis
import ibis.expr.types as ir
from ibis.backends.duckdb import Backend

from features import columns as c
from features.canonical import ORDER_LINES
from features.feeds import UNIT_PRICE, Feed

PRICE = "_price"
"""What one item cost, to tell which sale a return belongs to; gone after netting."""


def valued(accepted: ir.Table, feed: Feed) -> dict[str, ir.Value]:
    """The line's amount in minor units, from the price of an item or as given, and that price."""
    quantity = accepted[c.QUANTITY]
    if UNIT_PRICE in feed.columns:
        price = accepted[UNIT_PRICE]
        return {
            c.AMOUNT: (quantity * price * 100).round(0).cast("int64"),
            PRICE: price.cast("float64"),
        }
    amount = accepted[c.AMOUNT]
    return {c.AMOUNT: amount, PRICE: amount.cast("float64") / quantity.nullif(0).cast("float64")}


def netted(backend: Backend, lines: ir.Table) -> tuple[ir.Table, int]:
    """``lines`` with the order that each belongs to, and how many returns found theirs."""
    cancelled = backend.create_table("cancelled", _cancelled(lines), overwrite=True)
    joined = lines.left_join(cancelled, c.ROW).select(
        *[name for name in ORDER_LINES.arrow.names if name != c.ORDER_REF],
        **{c.ORDER_REF: ibis.coalesce(cancelled[c.ORDER_REF], lines[c.ORDER])},
    )
    return joined, cancelled.count().to_pyarrow().as_py()


def _cancelled(lines: ir.Table) -> ir.Table:
    """For each return the order it cancels: the latest earlier sale of the product to the customer.

    A sale of the order whose number the return bears comes first, then one at the same price, then
    one of at least the quantity taken back; equal ones are told apart by order number, never by
    row. Sales learned of after the return take no part: wherever the return is seen, so is the
    sale. A return without such a sale (bought before the data begin) is left out and keeps its own
    number.
    """
    returns = lines.filter(lines[c.IS_RETURN]).select(
        c.CUSTOMER, c.PRODUCT, c.ROW, return_time=c.EVENT_TIME, return_known=c.KNOWN_TIME,
        taken=c.QUANTITY, price=PRICE, own=c.ORDER,
    )  # fmt: skip
    sales = lines.filter(~lines[c.IS_RETURN]).select(
        c.CUSTOMER, c.PRODUCT, c.EVENT_TIME, c.KNOWN_TIME, c.QUANTITY, PRICE,
        **{c.ORDER_REF: c.ORDER},
    )  # fmt: skip
    pairs = returns.join(sales, [c.CUSTOMER, c.PRODUCT]).filter(
        _[c.EVENT_TIME] <= _.return_time, _[c.KNOWN_TIME] <= _.return_known
    )
    best = ibis.row_number().over(ibis.window(
        group_by=c.ROW,
        order_by=[
            (pairs[c.ORDER_REF] == pairs.own).desc(),
            (pairs[PRICE] == pairs.price).fill_null(False).desc(),
            (pairs[c.QUANTITY] >= -pairs.taken).desc(),
            pairs[c.EVENT_TIME].desc(), pairs[c.ORDER_REF].desc(),
        ],
    ))  # fmt: skip
    return pairs.mutate(best=best).filter(_.best == 0).select(c.ROW, c.ORDER_REF)


_ = ibis._
