"""Orders as known at any time: lines collapsed once, then looked at from every cutoff.

An order changes when a line of it, or a return, becomes known. :func:`pieces` adds up what became
known of an order at one moment, some twenty times fewer rows than lines and the same for every
cutoff. Most customers' orders never change and become known one after the other: their sequence is
the same seen from any cutoff (:func:`steady_orders`). The others' orders have states, each holding
from the moment it was seen until the next (:func:`order_states`), and gaps that depend on the
cutoff (:func:`orders_seen`).
"""

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
from ibis.expr.builders import WindowBuilder

from features import columns as c

SEEN, UNTIL = "seen", "until"
LINES, DAY, GAP = "lines", "day", "gap_days"
SHOWN = (c.CUSTOMER, c.ORDER_REF, c.EVENT_TIME, c.AMOUNT, c.DISCOUNT, c.QUANTITY, LINES, DAY)


def pieces(lines: ir.Table) -> ir.Table:
    """What became known of an order at one moment: keyed ``(customer_id, order_ref, seen)``."""
    seen = ibis.greatest(lines[c.EVENT_TIME], lines[c.KNOWN_TIME]).name(SEEN)
    return lines.group_by([lines[c.CUSTOMER], lines[c.ORDER_REF], seen]).aggregate(**_totals(lines))


def steady_orders(pieces: ir.Table) -> ir.Table:
    """Orders of the customers for whom one sequence holds at every cutoff, with its gaps.

    Each of their orders is one piece, is kept, and became known no earlier than those before it.
    """
    key = [c.CUSTOMER, c.ORDER_REF]
    several = pieces.group_by(key).having(pieces.count() > 1).aggregate(n=pieces.count())
    once = pieces.anti_join(several, c.CUSTOMER)
    once = once.mutate(**{DAY: _day(once[c.EVENT_TIME])})
    history = ibis.window(group_by=c.CUSTOMER, order_by=[c.EVENT_TIME, c.ORDER_REF])
    steps = once.mutate(
        odd=~_kept(once) | (once[SEEN].lag().over(history) > once[SEEN]).fill_null(False),
        **{GAP: _gap(once, history)},
    )
    odd = steps.filter(steps.odd).select(c.CUSTOMER).distinct()
    steady = steps.anti_join(odd, c.CUSTOMER).op()
    # Projected here: Ibis would go on with the join, and what is made once could not be found.
    shown = {name: ops.Field(steady, name) for name in (SEEN, *SHOWN, GAP)}
    return ir.Table(ops.Project(steady, shown))


def order_states(pieces: ir.Table, steady: ir.Table) -> ir.Table:
    """Every state of the other customers' orders: it holds at ``t`` if ``seen < t <= until``."""
    others = pieces.anti_join(steady, c.CUSTOMER)
    order = ibis.window(group_by=[c.CUSTOMER, c.ORDER_REF], order_by=SEEN)
    so_far = ibis.cumulative_window(group_by=[c.CUSTOMER, c.ORDER_REF], order_by=SEEN)
    states = others.select(
        c.CUSTOMER,
        c.ORDER_REF,
        SEEN,
        **{
            UNTIL: others[SEEN].lead().over(order),
            c.EVENT_TIME: others[c.EVENT_TIME].min().over(so_far),
            c.AMOUNT: others[c.AMOUNT].sum().over(so_far).cast("int64"),
            c.DISCOUNT: others[c.DISCOUNT].sum().over(so_far).cast("int64"),
            c.QUANTITY: others[c.QUANTITY].sum().over(so_far).cast("int64"),
            LINES: others[LINES].sum().over(so_far).cast("int64"),
        },
    )
    states = states.filter(_kept(states))
    return states.select(SEEN, UNTIL, *SHOWN[:-1], **{DAY: _day(states[c.EVENT_TIME])})


def orders_seen(steady: ir.Table, states: ir.Table, moments: ir.Table) -> ir.Table:
    """The orders kept as of each cutoff of ``moments``, with the gap to the day before."""
    always = steady.join(moments, steady[SEEN] < moments[c.CUTOFF])
    always = always.select(c.CUTOFF, *SHOWN, GAP)
    held = states.join(
        moments,
        [
            states[SEEN] < moments[c.CUTOFF],
            (states[UNTIL] >= moments[c.CUTOFF]) | states[UNTIL].isnull(),
        ],
    ).select(c.CUTOFF, *SHOWN)
    history = ibis.window(group_by=[c.CUTOFF, c.CUSTOMER], order_by=[c.EVENT_TIME, c.ORDER_REF])
    orders = ibis.union(always, held.mutate(**{GAP: _gap(held, history)}))
    return orders.mutate(**{c.QUANTITY: ibis.greatest(orders[c.QUANTITY], 0)})


def orders_of_window(lines: ir.Table) -> ir.Table:
    """Orders netted within the rows of a window; a return of an earlier order counts nowhere."""
    orders = lines.group_by([c.CUTOFF, c.CUSTOMER, c.ORDER_REF]).aggregate(**_totals(lines))
    orders = orders.filter(_kept(orders))
    quantity = ibis.greatest(orders[c.QUANTITY], 0).cast("int64")
    return orders.mutate(**{c.QUANTITY: quantity, DAY: _day(orders[c.EVENT_TIME])})


def _totals(lines: ir.Table) -> dict[str, ir.Value]:
    sold = ~lines[c.IS_RETURN]
    return {
        c.EVENT_TIME: lines[c.EVENT_TIME].min(where=sold),
        c.AMOUNT: lines[c.AMOUNT].sum().cast("int64"),
        c.DISCOUNT: lines[c.DISCOUNT].sum(where=sold).cast("int64"),
        c.QUANTITY: lines[c.QUANTITY].sum().cast("int64"),
        LINES: lines.count(where=sold),
    }


def _kept(orders: ir.Table) -> ir.BooleanValue:
    return orders[c.EVENT_TIME].notnull() & (orders[c.AMOUNT] > 0)


def _day(time: ir.Value) -> ir.Value:
    return (time.truncate("D").epoch_seconds() // 86_400).cast("int64")


def _gap(orders: ir.Table, history: WindowBuilder) -> ir.Value:
    return (orders[DAY] - orders[DAY].lag().over(history)).nullif(0).cast("int64")
