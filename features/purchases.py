"""What customers bought of each product, as known at any time: a ledger without the products.

A purchase is a product bought by a customer at a moment, in one line or several. How many different
products somebody bought in the last year is a distinct count over lines, and lines times cutoffs
are many. The ledger gives it as a sum: when a product is bought again, the moment that it was last
bought at moves, so one is added at the new moment and one taken off the old, both booked when it
became known. Entries then need no product, and those of a basket collapse into one.
"""

import ibis
import ibis.expr.types as ir

from features import columns as c
from features.orders import SEEN

PURCHASES, PRODUCTS, FIRSTS = "purchases", "products", "firsts"


def purchase_ledger(lines: ir.Table) -> ir.Table:
    """Entries by customer, moment of purchase (``event_time``) and moment of knowing (``seen``).

    Summed over the entries seen before ``t`` whose moment of purchase lies in a window that ends at
    ``t``, whatever the window: ``purchases`` counts purchases, ``products`` different products and
    ``firsts`` products that were never bought before the window.
    """
    sold = lines.filter(~lines[c.IS_RETURN])
    bought = sold.group_by([c.CUSTOMER, c.PRODUCT, c.EVENT_TIME]).aggregate(
        **{SEEN: ibis.greatest(sold[c.EVENT_TIME], sold[c.KNOWN_TIME]).min()}
    )
    known = ibis.rows_window(
        group_by=[c.CUSTOMER, c.PRODUCT], order_by=[SEEN, c.EVENT_TIME], preceding=(None, 1)
    )
    moment = bought[c.EVENT_TIME]
    before = {"last": moment.max().over(known), "first": moment.min().over(known)}
    moves = bought.select(c.CUSTOMER, SEEN, c.EVENT_TIME, **before)
    new, later = moves["last"].isnull(), moves[c.EVENT_TIME] > moves["last"]
    earlier = moves[c.EVENT_TIME] < moves["first"]
    added = _entries(moves, moves[c.EVENT_TIME], 1, _count(new | later), _count(new | earlier))
    moved = ibis.ifelse(later, moves["last"], moves["first"])
    taken = _entries(moves, moved, 0, -_count(later), -_count(earlier))
    taken = taken.filter((taken[PRODUCTS] < 0) | (taken[FIRSTS] < 0))
    entries = ibis.union(added, taken)
    return entries.group_by([c.CUSTOMER, SEEN, c.EVENT_TIME]).aggregate(
        **{name: entries[name].sum().cast("int64") for name in (PURCHASES, PRODUCTS, FIRSTS)}
    )


def _entries(
    moves: ir.Table, moment: ir.Value, purchases: int, products: ir.Value, firsts: ir.Value
) -> ir.Table:
    counts = {
        PURCHASES: ibis.literal(purchases, type="int64"), PRODUCTS: products, FIRSTS: firsts
    }  # fmt: skip
    return moves.select(c.CUSTOMER, SEEN, **{c.EVENT_TIME: moment, **counts})


def _count(flag: ir.BooleanValue) -> ir.Value:
    return flag.fill_null(False).cast("int64")
