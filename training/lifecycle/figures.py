"""Key figures: of each its meaning, the tables it needs, and its parts by customer and channel."""

from collections.abc import Callable
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import pandas as pd

from features import columns as c
from features.sets.derived import Derived, DerivedConfig
from features.views import AGE, View

ALL = "all"
MONTH = 30
STEPS = ("visit", "view", "cart_add", "checkout", "purchase")


@dataclass(frozen=True)
class Kpi:
    """One key figure."""

    name: str
    meaning: str
    tables: tuple[str, ...]
    measured: Callable[[View, int], pd.DataFrame]
    """``customer_id``, ``channel``, ``part`` and ``whole`` (missing: every customer of a group
    counts 1) of the last days."""
    once: bool = False
    """A customer counts once over all channels."""
    why_not: str = ""
    """Said where its tables are there and show nothing."""


def _frame(table: ir.Table) -> pd.DataFrame:
    ordered = table.select(c.CUSTOMER, c.CHANNEL, "part", "whole").order_by([c.CUSTOMER, c.CHANNEL])
    found: pd.DataFrame = ordered.to_pyarrow().to_pandas()
    found[c.CHANNEL] = found[c.CHANNEL].astype(object).fillna("not said")
    return found


def _by(rows: ir.Table, part: ir.Value, whole: ir.Value | None = None) -> pd.DataFrame:
    """Sums by customer and channel."""
    nothing = ibis.null("float64")
    sums = rows.group_by([c.CUSTOMER, c.CHANNEL]).aggregate(
        part=part.cast("float64"), whole=nothing if whole is None else whole.cast("float64")
    )
    return _frame(sums)


def _touched(view: View, days: int) -> ir.Table:
    """Messages of the window with what came of them."""
    sent, back = view.rows("contacts"), view.rows("responses")
    kinds = ("delivered", "opened", "clicked", "converted")
    came = back.group_by([c.CUSTOMER, "contact_id"]).aggregate(
        **{kind: (back[c.KIND] == kind).any() for kind in kinds}
    )
    sent = sent.filter(sent[AGE] <= days).select(c.CUSTOMER, c.CHANNEL, "contact_id")
    both = sent.left_join(came, [c.CUSTOMER, "contact_id"])
    return both.mutate(**{kind: both[kind].fill_null(False).cast("int64") for kind in kinds})


def _told(kind: str) -> Callable[[View, int], pd.DataFrame]:
    def measured(view: View, days: int) -> pd.DataFrame:
        touched = _touched(view, days)
        return _by(touched, touched[kind].sum(), touched["delivered"].sum())

    return measured


def _reached(view: View, days: int) -> pd.DataFrame:
    touched = _touched(view, days)
    return _by(touched, touched["delivered"].max())


def sessions(view: View, days: int) -> ir.Table:
    """Sessions of the window: customer, channel, and whether each step was taken (1 or 0)."""
    events = view.rows("events")
    events = events.filter((events[AGE] <= days) & events["session_id"].notnull())  # noqa: PD004  (Ibis)
    return events.group_by([c.CUSTOMER, c.CHANNEL, "session_id"]).aggregate(
        **{step: (events[c.KIND] == step).any().cast("int64") for step in STEPS}
    )


def _converted(view: View, days: int) -> pd.DataFrame:
    found = sessions(view, days)
    return _by(found, found["purchase"].sum(), found.count())


def _dropped(view: View, days: int) -> pd.DataFrame:
    found = sessions(view, days)
    deep = found.filter(found["checkout"] == 1)
    return _by(deep, (1 - deep["purchase"]).sum(), deep.count())


def _visits(view: View, days: int) -> pd.DataFrame:
    events = view.rows("events")
    visits = events.filter((events[AGE] <= days) & (events[c.KIND] == "visit"))
    return _by(visits, visits.count())


def _daily(view: View, days: int) -> pd.DataFrame:
    events = view.rows("events")
    recent = events.filter(events[AGE] <= MONTH)
    active = recent[c.EVENT_TIME].date().nunique().cast("float64") / float(MONTH)
    return _by(recent, active, ibis.literal(1.0))


def _orders(view: View, first: int, last: int) -> ir.Table:
    """Orders kept whose sale lies ``first`` to ``last`` days back, with channel and net amount."""
    lines = view.order_lines
    sold = ~lines[c.IS_RETURN]
    orders = lines.group_by([c.CUSTOMER, c.ORDER_REF]).aggregate(
        channel=lines[c.CHANNEL].max(where=sold), amount=lines[c.AMOUNT].sum(),
        age=lines[AGE].max(where=sold),
    )  # fmt: skip
    return orders.filter((orders.amount > 0) & (orders.age > first) & (orders.age <= last))


def _value(view: View, days: int) -> pd.DataFrame:
    orders = _orders(view, 0, days)
    return _by(orders, orders.amount.sum().cast("float64") / 100.0, orders.count())


def _frequency(view: View, days: int) -> pd.DataFrame:
    orders = _orders(view, 0, days)
    return _by(orders, orders.count())


def _again(view: View, days: int) -> pd.DataFrame:
    orders = _orders(view, 0, days)
    return _by(orders, (orders.count() >= 2).cast("float64"), ibis.literal(1.0))


def _kept(view: View, days: int, lapsed: bool = False, gone: bool = False) -> pd.DataFrame:
    """Of those who ordered in the window before (or only earlier), who orders in this one."""
    before = _orders(view, days, 2 * days)
    if lapsed:
        earlier = _orders(view, 2 * days, 100 * days)
        before = earlier.anti_join(before, c.CUSTOMER)
    base = before.select(c.CUSTOMER).distinct()
    now = _orders(view, 0, days).select(c.CUSTOMER, bought=ibis.literal(1.0)).distinct()
    both = base.left_join(now, c.CUSTOMER)
    came = both.bought.fill_null(0.0)
    return _frame(both.mutate(channel=ibis.null("string"), part=1.0 - came if gone else came,
                              whole=ibis.literal(1.0))).assign(channel=ALL)  # fmt: skip


def _scores(kind: str) -> Callable[[View, int], pd.DataFrame]:
    def measured(view: View, days: int) -> pd.DataFrame:
        rows = view.rows("feedback")
        given = rows.filter((rows[AGE] <= days) & (rows[c.KIND] == kind) & rows.score.notnull())  # noqa: PD004  (Ibis)
        part = given.score.sum()
        if kind == "nps":
            part = 100.0 * ((given.score >= 9).sum() - (given.score <= 6).sum()).cast("float64")
        return _by(given, part, given.count())

    return measured


def _enquired(view: View, days: int) -> pd.DataFrame:
    rows = view.rows("feedback")
    asked = rows.filter(
        (rows[AGE] <= days) & rows[c.KIND].isin(["ticket", "complaint", "call", "chat"])
    )
    return _by(asked, asked.count())


def _members(view: View, days: int) -> pd.DataFrame:
    rows = view.rows("loyalty")
    rows = rows.filter(rows[c.KIND].isin(["join", "leave"]))
    rows = rows.mutate(channel=ibis.null("string"))
    net = (rows[c.KIND] == "join").sum() - (rows[c.KIND] == "leave").sum()
    return _by(rows, net).assign(channel=ALL)


def _referred(view: View, days: int) -> pd.DataFrame:
    rows = view.rows("relations")
    made = rows.filter((rows[AGE] <= days) & (rows[c.KIND] == "referral"))
    made = made.mutate(channel=ibis.null("string"))
    return _by(made, made.count()).assign(channel=ALL)


def _value_said(view: View, days: int) -> pd.DataFrame:
    """Answers of the model ``clv`` that the source brings back, as known at the cutoff."""
    answers = Derived(DerivedConfig(values=("clv",))).build(view)
    said = answers.filter(answers["derived__clv_value"].notnull())  # noqa: PD004  (Ibis)
    told = said.mutate(
        channel=ibis.null("string"), part=said["derived__clv_value"], whole=ibis.literal(1.0)
    )
    return _frame(told).assign(channel=ALL)


KPIS = (
    Kpi("reach", "share of customers with a message delivered", ("contacts", "responses"),
        _reached, once=True),
    Kpi("open_rate", "messages opened over delivered", ("contacts", "responses"), _told("opened")),
    Kpi("click_through", "messages clicked over delivered", ("contacts", "responses"),
        _told("clicked")),
    Kpi("response", "messages that reached their goal over delivered", ("contacts", "responses"),
        _told("converted")),
    Kpi("enquiries", "tickets, complaints, calls and chats per customer", ("feedback",), _enquired),
    Kpi("conversion", "sessions with a purchase over sessions", ("events",), _converted),
    Kpi("checkout_drop_off", "sessions without a purchase over sessions with a checkout",
        ("events",), _dropped),
    Kpi("order_value", "net amount per order, currency", ("order_lines",), _value),
    Kpi("frequency", "orders per customer", ("order_lines",), _frequency),
    Kpi("repurchase", "share of the window's buyers with two orders or more", ("order_lines",),
        _again),
    Kpi("retention", "share of the buyers of the window before who buy in this one",
        ("order_lines",), _kept),
    Kpi("churn", "share of the buyers of the window before who do not", ("order_lines",),
        lambda view, days: _kept(view, days, gone=True)),
    Kpi("win_back", "share of those silent for a window, and buyers before it, who buy in this one",
        ("order_lines",), lambda view, days: _kept(view, days, lapsed=True)),
    Kpi("usage", "visits per customer", ("events",), _visits),
    Kpi("dau_mau", f"customers active on a day over those active in {MONTH} days", ("events",),
        _daily),
    Kpi("csat", "mean score of satisfaction surveys", ("feedback",), _scores("csat")),
    Kpi("nps", "promoters less detractors per 100 answers", ("feedback",), _scores("nps")),
    Kpi("membership", "share of customers in the loyalty programme", ("loyalty",), _members),
    Kpi("referral", "customers referred per customer", ("relations",), _referred),
    Kpi("clv", "expected value of a customer, as the approved model `clv` said last", ("derived",),
        _value_said, why_not="no answer of the model `clv` was published to the source by then"),
)  # fmt: skip
