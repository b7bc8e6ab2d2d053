"""The rhythm of orders: gaps between days with an order, and when in the week, day and year."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished
from features.settings import Strict
from features.views import AGE, View, ratio

YEAR, DAY_SECONDS, HOUR_SECONDS = 365, 86_400, 3_600
WEEKDAYS, PARTS = 7, 4
WEEKEND = (5, 6)
DECLARE = Declare("cadence")


class CadenceConfig(Strict):
    """What counts as evening, and the stretch of last year."""

    evening_from_hour: int = Field(default=18, ge=0, le=23)
    """The evening lasts from this hour to midnight."""
    year_ago_days: int = Field(default=90, ge=1, le=YEAR)
    """The same days a year before: ``[t - 365 - d, t - 365)``."""


class Cadence:
    """How regularly a customer orders, what is due by that rhythm, and at which times.

    Gaps are whole days between days with an order: several orders of a day are one visit. The usual
    gap is the median, which one long pause does not move.
    """

    config: CadenceConfig
    reads: tuple[str, ...] = ("order_lines",)

    def __init__(self, config: CadenceConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        days, evening = self.config.year_ago_days, self.config.evening_from_hour
        none = "no order was kept"
        year_ago = DECLARE.maybe(
            f"year_ago_orders_{days}d", "orders", f"orders in the same {days} days a year before",
            f"the data begin less than {YEAR + days} days before the cutoff",
        )  # fmt: skip
        return [
            *_gap_columns(),
            DECLARE.share("weekend_share", "share of orders on Saturday or Sunday", none),
            DECLARE.share("evening_share", f"share of orders from {evening} o'clock on", none),
            DECLARE.maybe(
                "hour_mean_hours", "hours", "mean time of day of orders", none, high=24
            ),
            DECLARE.share(
                "weekday_concentration",
                "chance that two orders fall on the same weekday, 1 = always, 1/7 = evenly", none,
            ),
            DECLARE.share(
                "daypart_concentration",
                "chance that two orders fall into the same quarter of the day", none,
            ),
            year_ago.model_copy(update={"window_days": YEAR + days}),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with at least one row in the past."""
        found = beside(view.customers, self._sums(view))
        n, n_gaps, total = found.n, found.n_gaps, found.total.cast("float64")
        gaps = n_gaps.cast("float64")
        mean = ratio(found.total, n_gaps)
        spread = (found.squares.cast("float64") - total * total / gaps) / (gaps - 1.0)
        deviation = ibis.ifelse(n_gaps >= 2, ibis.greatest(spread, 0.0).sqrt(), None)
        now, last = found[c.CUTOFF].epoch_seconds(), found.last_day * DAY_SECONDS
        since = (now - last).cast("float64") / float(DAY_SECONDS)
        days = self.config.year_ago_days
        observable = view.observable(found[c.CUTOFF], YEAR + days)
        values = {
            "gap_mean_days": mean,
            "gap_median_days": found.median,
            "gap_sd_days": deviation,
            "gap_last_days": found.latest,
            "gap_max_days": found.longest,
            "gap_variation_ratio": ratio(deviation, mean),
            "gap_last_over_mean": ratio(found.latest, mean),
            "overdue_ratio": ratio(since, mean),
            "overdue_median_ratio": ratio(since, found.median),
            "overdue_max_ratio": ratio(since, found.longest),
            "expected_in_days": found.median.cast("float64") - since,
            "weekend_share": ratio(sum(found[f"weekday_{k}"] for k in WEEKEND), n),
            "evening_share": ratio(found.evening, n),
            "hour_mean_hours": ratio(found.seconds, n) / float(HOUR_SECONDS),
            "weekday_concentration": _concentration(found, "weekday", WEEKDAYS),
            "daypart_concentration": _concentration(found, "part", PARTS),
            f"year_ago_orders_{days}d": ibis.ifelse(observable, found.year_ago.fill_null(0), None),
        }
        return finished(found.select(*KEYS, **values), self.columns())

    def _sums(self, view: View) -> ir.Table:
        orders = view.orders
        gap, day, age = orders.gap_days, orders.day, orders[AGE]
        seconds = orders[c.EVENT_TIME].epoch_seconds() - day * DAY_SECONDS
        weekday = (day + 3) % WEEKDAYS  # 1970-01-01 was a Thursday; Monday is 0
        part = seconds // (DAY_SECONDS // PARTS)
        ago = (age > YEAR) & (age <= YEAR + self.config.year_ago_days)
        return orders.group_by(list(KEYS)).aggregate(
            n=orders.count(),
            n_gaps=gap.count(),
            total=gap.sum(),
            squares=(gap * gap).sum(),
            median=gap.median(),
            longest=gap.max(),
            latest=gap.argmax(day, where=gap.notnull()),
            last_day=day.max(),
            seconds=seconds.sum(),
            evening=orders.count(where=seconds >= self.config.evening_from_hour * HOUR_SECONDS),
            year_ago=orders.count(where=ago),
            **{f"weekday_{k}": orders.count(where=weekday == k) for k in range(WEEKDAYS)},
            **{f"part_{k}": orders.count(where=part == k) for k in range(PARTS)},
        )


def _gap_columns() -> list[FeatureColumn]:
    single, two = "fewer than two days with an order", "fewer than two gaps"
    between = "between days with an order"
    return [
        DECLARE.maybe("gap_mean_days", "days", f"mean gap {between}", single),
        DECLARE.maybe("gap_median_days", "days", f"usual gap {between}, the median", single),
        DECLARE.maybe("gap_sd_days", "days", f"standard deviation of the gaps {between}", two),
        DECLARE.maybe("gap_last_days", "days", f"most recent gap {between}", single),
        DECLARE.maybe("gap_max_days", "days", f"longest gap {between}", single),
        DECLARE.maybe(
            "gap_variation_ratio", "ratio",
            f"deviation over mean of the gaps {between}, 0 = a clock", two,
        ),
        DECLARE.maybe("gap_last_over_mean", "ratio", "the last gap over the mean gap", single),
        DECLARE.maybe(
            "overdue_ratio", "ratio", "time since the last order over the mean gap", single
        ),
        DECLARE.maybe(
            "overdue_median_ratio", "ratio", "time since the last order over the usual gap", single
        ),
        DECLARE.maybe(
            "overdue_max_ratio", "ratio", "time since the last order over the longest gap", single
        ),
        DECLARE.maybe(
            "expected_in_days", "days",
            "time until the next order is due by the usual gap, below 0 overdue",
            single, low=None,
        ),
    ]  # fmt: skip


def _concentration(found: ir.Table, name: str, classes: int) -> ir.Value:
    """Sum of squared shares, from whole numbers."""
    counts = [found[f"{name}_{k}"] for k in range(classes)]
    return ratio(sum(count * count for count in counts), found.n * found.n)
