"""What customers do on the web, in the app and in stores: how much, how far, how lately."""

import math

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished, slug
from features.settings import Strict
from features.views import AGE, View, entropy, ratio

VISIT, VIEW, SEARCH, CART, CHECKOUT, PURCHASE = (
    "visit", "view", "search", "cart_add", "checkout", "purchase",
)  # fmt: skip
COUNTED = {
    "views": (VIEW, "products viewed"),
    "searches": (SEARCH, "searches"),
    "cart_adds": (CART, "products put into the cart"),
}
"""Column -> kind of event and what it counts."""


class EngagementConfig(Strict):
    """Windows, and the words of the source that are told apart."""

    windows_days: tuple[int, ...] = Field(default=(7, 30, 90), min_length=1)
    """Windows ``[t - w, t)``; shares and the trend are over the longest."""
    channels: tuple[str, ...] = ("web", "app", "store")
    """Channels whose visits are counted apart."""
    devices: tuple[str, ...] = ("phone", "tablet", "computer")
    """Devices of which the share is taken."""
    funnel: tuple[str, ...] = (VISIT, VIEW, CART, CHECKOUT, PURCHASE)
    """Kinds of events that lead to a purchase, the first step first."""
    kinds: tuple[str, ...] = Field(
        default=(VISIT, VIEW, SEARCH, CART, "cart_remove", CHECKOUT, PURCHASE), min_length=2
    )
    """Kinds of events among which behaviour is spread; others do not count there."""

    @property
    def longest(self) -> int:
        """The longest window, in days."""
        return max(self.windows_days)


class Engagement:
    """Visits and what is done in them, from the events that are known."""

    config: EngagementConfig
    reads = ("events",)

    def __init__(self, config: EngagementConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d, config, longest = Declare("engagement"), self.config, self.config.longest
        columns = []
        for days in config.windows_days:
            columns += [
                d.zero("visits", "visits", "visits on every channel", days),
                *[
                    d.zero(f"{slug(channel)}_visits", "visits", f"visits, {channel}", days)
                    for channel in config.channels
                ],
                d.zero("active_days", "days", "days with an event", days, high=days + 1),
                d.zero("dwell_minutes", "minutes", "time spent in visits", days),
                *[d.zero(name, "events", what, days) for name, (_, what) in COUNTED.items()],
                d.zero("abandoned_carts", "sessions",
                       "sessions with something put into the cart and no purchase", days),
                d.zero("checkout_dropoffs", "sessions",
                       "sessions that reached the checkout and no purchase", days),
                d.zero("funnel_depth_steps", "steps",
                       f"deepest step reached, of {', '.join(config.funnel)}", days,
                       high=len(config.funnel)),
            ]  # fmt: skip
        shown = "no event with a device was seen in the window"
        return [
            *columns,
            d.zero("products_viewed", "products", "different products viewed", longest),
            d.maybe("visit_minutes", "minutes", "mean length of a visit",
                    "no visit of known length was seen in the window", longest),
            d.maybe("behaviour_entropy_nats", "nats",
                    "how evenly events are spread over their kinds, 0 = all of one kind",
                    "no event of these kinds was seen in the window", longest,
                    high=round(math.log(len(config.kinds)), 9)),
            *[
                d.share(f"{slug(device)}_share", f"share of events on a {device}", shown, longest)
                for device in config.devices
            ],
            d.share("visits_trend_ratio",
                    f"share of the visits that lie in the last {min(config.windows_days)} days",
                    "no visit was seen in the window", longest),
            d.maybe("last_visit_days", "days", "time since the last visit", "no visit was seen"),
            d.maybe("last_cart_days", "days", "time since something was last put into the cart",
                    "nothing was put into the cart"),
            d.maybe("first_event_days", "days", "time since the first event", "no event was seen"),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with an event."""
        config, longest = self.config, self.config.longest
        found = beside(_ever(view), self._lately(view), self._sessions(view))
        counts = [found[f"kind_{k}"].cast("float64") for k in range(len(config.kinds))]
        spread: ir.Value = ibis.literal(0.0)
        for count in counts:
            spread = spread + count * ibis.greatest(count, 1.0).ln()
        values = {
            f"behaviour_entropy_nats_{longest}d": entropy(found.of_kinds, spread),
            f"visit_minutes_{longest}d": ratio(found.timed_seconds, found.timed) / 60.0,
            f"visits_trend_ratio_{longest}d": ratio(
                found[f"visits_{min(config.windows_days)}d"], found[f"visits_{longest}d"]
            ),
        }
        for k, device in enumerate(config.devices):
            values[f"{slug(device)}_share_{longest}d"] = ratio(found[f"device_{k}"], found.shown)
        return finished(found.mutate(**values), self.columns())

    def _lately(self, view: View) -> ir.Table:
        """Sums over the windows; rows before the longest of them, by far the most, are not read."""
        config, rows = self.config, view.rows("events")
        events = rows.filter(rows[AGE] <= config.longest)
        age, kind, channel = events[AGE], events[c.KIND], events[c.CHANNEL]
        seconds, device, visit = events["duration_s"], events["device"], kind == VISIT
        depth = ibis.cases(
            *((kind == step, number) for number, step in enumerate(config.funnel, start=1)), else_=0
        )
        sums = {
            "of_kinds": events.count(where=kind.isin(config.kinds)),
            "shown": device.count(),
            "timed": seconds.count(where=visit),
            "timed_seconds": seconds.sum(where=visit),
            f"products_viewed_{config.longest}d": events[c.PRODUCT].nunique(where=kind == VIEW),
        }
        for k, name in enumerate(config.kinds):
            sums[f"kind_{k}"] = events.count(where=kind == name)
        for k, name in enumerate(config.devices):
            sums[f"device_{k}"] = events.count(where=device == name)
        for days in config.windows_days:
            inside = age <= days
            sums[f"visits_{days}d"] = events.count(where=inside & visit)
            for name in config.channels:
                sums[f"{slug(name)}_visits_{days}d"] = events.count(
                    where=inside & visit & (channel == name)
                )
            for name, (counted, _) in COUNTED.items():
                sums[f"{name}_{days}d"] = events.count(where=inside & (kind == counted))
            sums |= {
                f"active_days_{days}d": events[c.EVENT_TIME].date().nunique(where=inside),
                f"dwell_minutes_{days}d": seconds.sum(where=inside & visit).cast("float64") / 60.0,
                f"funnel_depth_steps_{days}d": depth.max(where=inside),
            }
        return events.group_by(list(KEYS)).aggregate(**sums)

    def _sessions(self, view: View) -> ir.Table:
        """Sessions that came as far as the cart, by the last step of theirs that is known."""
        events = view.rows("events")
        kind = events[c.KIND]
        deep = events.filter(
            events["session_id"].notnull() & kind.isin([CART, CHECKOUT, PURCHASE])
        )  # fmt: skip
        reached = {
            step: deep.count(where=deep[c.KIND] == step) for step in (CART, CHECKOUT, PURCHASE)
        }
        sessions = deep.group_by([*KEYS, "session_id"]).aggregate(age=deep[AGE].min(), **reached)
        left = sessions[PURCHASE] == 0
        sums = {}
        for days in self.config.windows_days:
            inside = left & (sessions.age <= days)
            sums[f"abandoned_carts_{days}d"] = sessions.count(where=inside & (sessions[CART] > 0))
            sums[f"checkout_dropoffs_{days}d"] = sessions.count(
                where=inside & (sessions[CHECKOUT] > 0)
            )
        return sessions.group_by(list(KEYS)).aggregate(**sums)


def _ever(view: View) -> ir.Table:
    """Everyone with an event, and how long ago the first and last of a kind were."""
    events = view.rows("events")
    age, kind = events[AGE], events[c.KIND]
    return events.group_by(list(KEYS)).aggregate(
        last_visit_days=age.min(where=kind == VISIT),
        last_cart_days=age.min(where=kind == CART),
        first_event_days=age.max(),
    )
