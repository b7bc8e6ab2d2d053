"""What a feature set is handed: rows as seen from cutoffs, and the small arithmetic of views."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import ibis
import ibis.expr.types as ir

from features import columns as c


@dataclass(frozen=True)
class View:
    """Rows seen from each cutoff, and nothing else: a feature set cannot look further."""

    order_lines: ir.Table
    """Rows of the table with the ``cutoff`` they are seen from."""
    began: datetime
    """Time of the source's first row: what lies before could not be observed."""

    @cached_property
    def orders(self) -> ir.Table:
        """Orders netted of what was taken back, as known at the cutoff.

        Keyed ``(cutoff, customer_id, order_ref)`` with ``event_time`` of the sale,
        ``amount_minor``, ``quantity`` and ``lines``. Orders taken back entirely are not there.
        More, but cheaper, pieces may come back than were sold: the quantity is then 0.
        """
        lines = self.order_lines
        sold = ~lines[c.IS_RETURN]
        orders = lines.group_by([c.CUTOFF, c.CUSTOMER, c.ORDER_REF]).aggregate(
            **{
                c.EVENT_TIME: lines[c.EVENT_TIME].min(where=sold),
                c.AMOUNT: lines[c.AMOUNT].sum().cast("int64"),
                c.QUANTITY: ibis.greatest(lines[c.QUANTITY].sum(), 0).cast("int64"),
                "lines": lines.count(where=sold),
            }
        )
        return orders.filter(orders[c.EVENT_TIME].notnull() & (orders[c.AMOUNT] > 0))

    @cached_property
    def returns(self) -> ir.Table:
        """Rows that take goods or money back."""
        return self.order_lines.filter(self.order_lines[c.IS_RETURN])

    @cached_property
    def customers(self) -> ir.Table:
        """Everyone with a row before the cutoff: ``(customer_id, cutoff)``."""
        return self.order_lines.select(c.CUSTOMER, c.CUTOFF).distinct()


def days_between(start: ir.Value, end: ir.Value) -> ir.Value:
    """Days from ``start`` to ``end`` as float64, by epoch seconds: engines count midnights."""
    return (end.epoch_seconds() - start.epoch_seconds()).cast("float64") / 86_400.0


def ratio(part: ir.Value, whole: ir.Value) -> ir.Value:
    """``part / whole`` as float64; missing where the whole is zero or missing."""
    return part.cast("float64") / whole.cast("float64").nullif(0.0)


def currency(minor: ir.Value) -> ir.Value:
    """Whole units of the currency from a sum of minor units."""
    return minor.cast("float64") / 100.0
