"""What a feature set is handed: rows as seen from cutoffs, and the small arithmetic of views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, reduce

import ibis
import ibis.expr.types as ir

from features import columns as c
from features.canonical import CANONICAL, LASTING
from features.errors import DataError
from features.once import Definitions, once
from features.orders import SEEN, order_states, orders_of_window, orders_seen, pieces, steady_orders
from features.purchases import purchase_ledger

AGE = "age_days"


@dataclass(frozen=True)
class Window:
    """Length of what follows a cutoff: ``[t, t + days)``, known by ``maturity_days`` later."""

    days: int
    maturity_days: int


@dataclass(frozen=True)
class View:
    """Rows seen from each cutoff, and nothing else: a feature set cannot look further.

    The past at cutoff ``t`` holds the rows that happened and were learned before ``t``. With a
    ``window`` it is what follows instead: rows of ``[t, t + days)``, for labels.
    """

    _tables: Mapping[str, ir.Table]
    _began: Mapping[str, datetime]
    cutoffs: tuple[datetime, ...]
    window: Window | None = None
    _asked: ir.Table | None = None
    """The cutoffs as a table, where only the engine will know them."""
    _allowed: ir.Table | None = None
    """``(customer_id, cutoff)`` of the customers that may be looked at; None: everyone."""
    _as_at: datetime | None = None
    """See :meth:`of_one_length`."""
    definitions: Definitions | None = None
    """Where what is worth making once is noted; see :class:`features.once.once`."""

    def of_one_length(self, as_at: datetime) -> "View":
        """The same view, which is of one cutoff, in data no longer than they were at ``as_at``.

        What happened earlier is not seen; what holds until it is replaced is known all the same.
        """
        view, tables, moments = replace(self, _as_at=as_at), dict(self._tables), self._moments
        for name in tables.keys() - LASTING:
            seen = moments.select(start=view._start(name, moments[c.CUTOFF]))
            tables[name] = tables[name].semi_join(seen, tables[name][c.EVENT_TIME] >= seen.start)
        return replace(view, _tables=tables)

    def has(self, table: str) -> bool:
        """Whether the source brings ``table``."""
        return table in self._tables

    def rows(self, table: str) -> ir.Table:
        """Rows of ``table`` with the ``cutoff`` they are seen from and their ``age_days``.

        Raises
        ------
        DataError
            If the source does not bring the table; ask :meth:`has` first, or declare it in
            ``reads``.
        """
        if table not in self._tables:
            raise DataError(
                f"the source brings no table {table!r}, only {', '.join(sorted(self._tables))}"
            )
        return self._cached_rows(table)

    def latest(self, table: str, by: Sequence[str] = (c.CUSTOMER,)) -> ir.Table:
        """The last version of each ``by`` known before the cutoff, keyed ``(cutoff, *by)``.

        The one that happened last counts, of equal ones the one learned last, then the later row.
        """
        rows = self.rows(table)
        order = [rows[c.EVENT_TIME].desc(), rows[c.KNOWN_TIME].desc(), rows[c.ROW].desc()]
        place = ibis.row_number().over(ibis.window(group_by=[c.CUTOFF, *by], order_by=order))
        ranked = rows.mutate(place=place)
        return ranked.filter(ranked.place == 0).drop("place")

    def observable(self, cutoff: ir.Value, days: float, table: str = "order_lines") -> ir.Value:
        """Whether the ``days`` before the cutoff lie within what ``table`` could observe."""
        return cutoff >= self._start(table, cutoff, days)

    def blind(self, tables: Sequence[str]) -> list[datetime]:
        """The cutoffs before which nothing of one of ``tables`` could be observed."""
        return [
            t
            for t in self.cutoffs
            if any(
                name not in self._began or self._began[name] >= (self._until(name) or t)
                for name in tables
            )
        ]

    def unseen(self, cutoff: ir.Value, tables: Sequence[str]) -> ir.BooleanValue | None:
        """Whether ``cutoff`` is a blind one of ``tables``; None where no cutoff is."""
        if not tables or (self._asked is None and not self.blind(tables)):
            return None
        return cutoff <= reduce(ibis.greatest, (self._start(name, cutoff) for name in tables))

    @property
    def order_lines(self) -> ir.Table:
        """Rows of ``order_lines``; prefer :attr:`orders`, which is many times smaller."""
        return self.rows("order_lines")

    @cached_property
    def orders(self) -> ir.Table:
        """Orders netted of what was taken back, as known at the cutoff.

        Keyed ``(cutoff, customer_id, order_ref)`` with ``event_time`` of the sale, ``age_days``,
        ``amount_minor``, ``discount_minor``, ``quantity``, ``lines``, the ``day`` since 1970 and
        ``gap_days`` since the customer's last earlier day with an order (missing on the first day,
        and for all but the first order of a day). Orders taken back entirely are not there. More,
        but cheaper, pieces may come back than were sold: the quantity is then 0.
        """
        if self.window is not None:
            return orders_of_window(self._aged(self._past("order_lines")))
        seen = orders_seen(self.steady_orders, self.order_states, self._moments)
        return self._aged(self._permitted(seen))

    @cached_property
    def numbered_orders(self) -> ir.Table:
        """:attr:`orders` numbered from the customer's first (``number`` 0) and last (``back`` 0).

        Of two orders of one moment the one with the higher reference is the later.
        """
        orders, owner = self.orders, [c.CUSTOMER, c.CUTOFF]
        order = [orders[c.EVENT_TIME], orders[c.ORDER_REF]]
        number = ibis.row_number().over(ibis.window(group_by=owner, order_by=order))
        everything = orders.count().over(ibis.window(group_by=owner))
        return orders.mutate(number=number, back=everything - 1 - number)

    @cached_property
    def purchases(self) -> ir.Table:
        """Entries whose sums over a window count ``purchases``, ``products`` and ``firsts``.

        Purchases are products at a moment; products are counted once each; firsts are those never
        bought before the window. See :mod:`features.purchases`.
        """
        ledger, moments = self.purchase_ledger, self._moments
        seen = ledger.join(moments, ledger[SEEN] < moments[c.CUTOFF])
        return self._aged(self._permitted(seen))

    @cached_property
    def returns(self) -> ir.Table:
        """Order lines that take goods or money back."""
        lines = self.rows("order_lines")
        return lines.filter(lines[c.IS_RETURN])

    @cached_property
    def consents(self) -> ir.Table:
        """What each customer allowed last before the cutoff, by ``channel`` and ``purpose``.

        ``granted`` is false for what was revoked or objected to; of a grant and a revocation at one
        moment the revocation counts.
        """
        rows = self.rows("consents")
        by = [c.CUTOFF, c.CUSTOMER, c.CHANNEL, "purpose"]
        order = [rows[c.EVENT_TIME].desc(), rows.granted, rows[c.KNOWN_TIME].desc()]
        place = ibis.row_number().over(ibis.window(group_by=by, order_by=order))
        ranked = rows.mutate(place=place)
        return ranked.filter(ranked.place == 0).drop("place")

    @once
    def customers(self) -> ir.Table:
        """Everyone with a row of any table before the cutoff: ``(customer_id, cutoff)``."""
        known, moments = self.first_seen, self._moments
        seen = known.join(moments, known[SEEN] < moments[c.CUTOFF])
        return self._permitted(seen.select(c.CUSTOMER, c.CUTOFF))

    @once
    def catalogue(self) -> ir.Table:
        """Products as known at the cutoff, the last version of each."""
        return self.latest("products", by=(c.PRODUCT,))

    @once
    def first_seen(self) -> ir.Table:
        """When each customer's first row of any table was seen."""
        first = []
        for name, table in sorted(self._tables.items()):
            if name == "order_lines":
                first.append(self.pieces.select(c.CUSTOMER, SEEN))
            elif c.CUSTOMER in CANONICAL[name]:
                seen = ibis.greatest(table[c.EVENT_TIME], table[c.KNOWN_TIME])
                first.append(table.select(c.CUSTOMER, **{SEEN: seen}))
        earliest = [t.group_by(c.CUSTOMER).aggregate(**{SEEN: t[SEEN].min()}) for t in first]
        if len(earliest) == 1:
            return earliest[0]
        known = ibis.union(*earliest)
        return known.group_by(c.CUSTOMER).aggregate(**{SEEN: known[SEEN].min()})

    @once
    def pieces(self) -> ir.Table:
        """See :mod:`features.orders`; the following, too."""
        return pieces(self._tables["order_lines"])

    @once
    def steady_orders(self) -> ir.Table:
        """Orders of customers for whom one sequence holds at every cutoff."""
        return steady_orders(self.pieces)

    @once
    def order_states(self) -> ir.Table:
        """States of the orders of all others."""
        return order_states(self.pieces, self.steady_orders)

    @once
    def purchase_ledger(self) -> ir.Table:
        """See :mod:`features.purchases`."""
        return purchase_ledger(self._tables["order_lines"])

    @cached_property
    def _moments(self) -> ir.Table:
        if self._asked is not None:
            return self._asked
        return ibis.memtable(
            {c.CUTOFF: list(self.cutoffs)}, schema={c.CUTOFF: "timestamp(6)"}
        )  # fmt: skip

    def _cached_rows(self, table: str) -> ir.Table:
        # A frozen dataclass cannot hold a growing dict of its own; __dict__ is where cached
        # properties live too. One object per table lets the engine see what sets share.
        cache: dict[str, ir.Table] = self.__dict__.setdefault("_rows", {})
        if table not in cache:
            cache[table] = self._aged(self._past(table))
        return cache[table]

    def _past(self, table: str) -> ir.Table:
        rows, moments = self._tables[table], self._moments
        if self.window is None:
            seen = rows.join(
                moments,
                [rows[c.EVENT_TIME] < moments[c.CUTOFF], rows[c.KNOWN_TIME] < moments[c.CUTOFF]],
            )
        else:
            end = moments[c.CUTOFF] + ibis.interval(days=self.window.days)
            mature = end + ibis.interval(days=self.window.maturity_days)
            seen = rows.join(
                moments,
                [
                    rows[c.EVENT_TIME] >= moments[c.CUTOFF],
                    rows[c.EVENT_TIME] < end,
                    rows[c.KNOWN_TIME] < mature,
                ],
            )
        return self._permitted(seen) if c.CUSTOMER in rows.columns else seen

    def _permitted(self, rows: ir.Table) -> ir.Table:
        if self._allowed is None:
            return rows
        return rows.semi_join(self._allowed, [c.CUSTOMER, c.CUTOFF])

    def _start(self, table: str, cutoff: ir.Value, days: float = 0.0) -> ir.Value:
        """``days`` after the first row of ``table``, in the data that are seen from ``cutoff``."""
        start, until = self._began[table] + timedelta(days=days), self._until(table)
        if until is None:
            return ibis.literal(start, type="timestamp(6)")
        return cutoff - ibis.interval(until - start)

    def _until(self, table: str) -> datetime | None:
        """When ``table`` was as long as it is seen; None: it is seen as long as it is."""
        return None if table in LASTING else self._as_at

    @staticmethod
    def _aged(rows: ir.Table) -> ir.Table:
        return rows.mutate(**{AGE: days_between(rows[c.EVENT_TIME], rows[c.CUTOFF])})


def whole_seconds(time: ir.TimestampValue) -> ir.IntegerColumn:
    """Seconds since 1970 as int64: what Ibis takes for an int32 would end in 2038."""
    return time.epoch_seconds().cast("int64")


def days_between(start: ir.Value, end: ir.Value) -> ir.Value:
    """Days from ``start`` to ``end`` as float64, by epoch seconds: engines count midnights."""
    return (end.epoch_seconds() - start.epoch_seconds()).cast("float64") / 86_400.0


def ratio(part: ir.Value, whole: ir.Value) -> ir.Value:
    """``part / whole`` as float64; missing where the whole is zero or missing."""
    return part.cast("float64") / whole.cast("float64").nullif(0.0)


def entropy(total: ir.Value, spread: ir.Value) -> ir.Value:
    """How evenly ``total`` counts are spread over kinds, in nats; missing where nothing is counted.

    ``ln N - sum(n ln n) / N`` (Shannon 1948, section 6), of which ``spread`` is the sum. Engines
    differ in the last bit of a logarithm: nine digits are the same in all of them.
    """
    n = total.cast("float64")
    nats = ibis.greatest(n.nullif(0.0).ln() - ratio(spread, n), 0.0).round(9)
    return ibis.ifelse(n > 0, nats, None)


def currency(minor: ir.Value) -> ir.Value:
    """Whole units of the currency from a sum of minor units."""
    return minor.cast("float64") / 100.0
