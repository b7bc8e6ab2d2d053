"""The loyalty programme: membership, tier, points."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, finished, last
from features.settings import Strict
from features.views import AGE, View

POINTS = {"earn": "earned", "burn": "burnt", "expire": "expired"}
"""Kind of row -> what became of its points."""


class LoyaltyConfig(Strict):
    """Windows of the sums."""

    windows_days: tuple[int, ...] = Field(default=(90, 365), min_length=1)
    """Windows ``[t - w, t)`` for points."""


class Loyalty:
    """Membership as it stands at the cutoff, and the points before it.

    Whoever left and did not join again since is no member; a programme that reports no joining has
    everyone in it who has a row.
    """

    config: LoyaltyConfig
    reads = ("loyalty",)

    def __init__(self, config: LoyaltyConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d = Declare("loyalty")
        return [
            d.zero("member", "flag", "1 = is a member", high=1),
            d.maybe("member_days", "days", "time since joining, of members",
                    "no member, or the joining is not known"),
            d.word("tier", "tier of members", "no member, or no tier is known"),
            d.zero("tier_changes", "changes", "times that a tier was given"),
            *[
                d.zero(name, "points", f"points {name}", days)
                for days in self.config.windows_days
                for name in POINTS.values()
            ],
            d.zero("balance", "points", "points earned and neither burnt nor expired; below 0 "
                   "where the earning lies before the data", low=None),
            *[
                d.maybe(f"last_{name}_days", "days", f"time since points were last {name}",
                        f"no points were {name}")
                for name in POINTS.values()
            ],
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a row of the programme."""
        rows = view.rows("loyalty")
        kind, age, points = rows[c.KIND], rows[AGE], rows["points"]
        sums = {
            "joined": age.min(where=kind == "join"),
            "left": age.min(where=kind == "leave"),
            "last_tier": last(rows, "tier", kind.notnull()),
            "tier_changes": rows.count(where=kind == "tier"),
        }
        for what, name in POINTS.items():
            one = kind == what
            sums[f"total_{name}"] = points.sum(where=one).fill_null(0)
            sums[f"last_{name}_days"] = age.min(where=one)
            for days in self.config.windows_days:
                sums[f"{name}_{days}d"] = points.sum(where=one & (age <= days))
        found = rows.group_by(list(KEYS)).aggregate(**sums)
        member = found.left.isnull() | (found.joined < found.left).fill_null(False)
        values = found.mutate(
            member=member.cast("int64"),
            member_days=ibis.ifelse(member, found.joined, None),
            tier=ibis.ifelse(member, found.last_tier, None),
            balance=found.total_earned - found.total_burnt - found.total_expired,
        )
        return finished(values, self.columns())
