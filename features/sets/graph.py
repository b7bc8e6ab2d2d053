"""Whom customers belong with: households and referrals, and what these do."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished
from features.settings import Strict
from features.views import AGE, View, ratio

HOUSEHOLD, REFERRAL = "household", "referral"


class GraphConfig(Strict):
    """How long neighbours are looked at."""

    window_days: int = Field(default=90, ge=1)
    """Window ``[t - w, t)`` for what neighbours order."""


class Graph:
    """Neighbours: everyone in a household or a referral with the customer, in either direction.

    What neighbours order says something of a customer before the own orders do, so these columns
    depend on other customers by intent. Like all others they know nothing later than the cutoff.
    """

    config: GraphConfig
    reads = ("relations",)
    of_others = True
    """Values depend on the rows of other customers."""

    def __init__(self, config: GraphConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d, days = Declare("graph"), self.config.window_days
        alone = "no neighbour is known, or the source brings no orders"
        return [
            d.zero("household_others", "customers", "other customers of the same household"),
            d.zero("referrals_made", "customers", "customers that this one referred"),
            d.zero("referrals_received", "customers", "customers that referred this one"),
            d.maybe("last_referral_days", "days", "time since the last referral made",
                    "no referral was made"),
            d.zero("neighbours", "customers", "different neighbours of any kind"),
            d.maybe("household_orders", "orders", "orders of the others of the household",
                    "no other of the household is known, or the source brings no orders", days),
            d.maybe("neighbour_orders", "orders", "orders of all neighbours", alone, days),
            d.share("active_neighbours_share", "share of neighbours with an order", alone, days),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a neighbour."""
        edges = self._edges(view)
        age, other, referral = edges[AGE], edges.other, edges[c.KIND] == REFERRAL
        found = edges.group_by(list(KEYS)).aggregate(
            household_others=other.nunique(where=edges[c.KIND] == HOUSEHOLD),
            referrals_made=other.nunique(where=referral & edges.own),
            referrals_received=other.nunique(where=referral & ~edges.own),
            last_referral_days=age.min(where=referral & edges.own),
            neighbours=other.nunique(),
        )
        return finished(beside(found, self._neighbours(view, edges)), self.columns())

    def _neighbours(self, view: View, edges: ir.Table) -> ir.Table:
        """What the neighbours order, each of them counted once."""
        days = self.config.window_days
        names = ("household_orders", "neighbour_orders", "active_neighbours_share")
        pairs = edges.group_by([*KEYS, "other"]).aggregate(
            lives_with=edges.count(where=edges[c.KIND] == HOUSEHOLD) > 0
        )
        if not view.has("order_lines"):
            nothing = {f"{name}_{days}d": ibis.null("float64") for name in names}
            return pairs.select(*KEYS).distinct().mutate(**nothing)
        orders = view.orders
        recent = orders.group_by(list(KEYS)).aggregate(n=orders.count(where=orders[AGE] <= days))
        recent = recent.select(other=recent[c.CUSTOMER], at=recent[c.CUTOFF], n=recent.n)
        pairs = pairs.left_join(
            recent, [pairs.other == recent.other, pairs[c.CUTOFF] == recent["at"]]
        )
        n = pairs.n.fill_null(0)
        found = pairs.group_by(list(KEYS)).aggregate(
            household=n.sum(where=pairs.lives_with),
            everyone=n.sum(),
            active=pairs.count(where=n > 0),
            all=pairs.count(),
        )
        values = (found.household, found.everyone, ratio(found.active, found["all"]))
        return found.select(
            *KEYS, **{f"{name}_{days}d": value for name, value in zip(names, values, strict=True)}
        )

    @staticmethod
    def _edges(view: View) -> ir.Table:
        """Every relation from both of its ends; ``own``: it was the customer who referred."""
        rows = view.rows("relations")
        there = rows.select(*KEYS, c.KIND, AGE, other=rows[c.OTHER], own=ibis.literal(True))
        back = rows.select(
            c.CUTOFF, c.KIND, AGE, other=rows[c.CUSTOMER], own=ibis.literal(False),
            **{c.CUSTOMER: rows[c.OTHER]},
        )  # fmt: skip
        both = ibis.union(there, back.select(*there.columns))
        both = both.filter(both[c.CUSTOMER] != both.other)
        # Who is named as the other one need not be known otherwise.
        return both.semi_join(view.customers, list(KEYS))
