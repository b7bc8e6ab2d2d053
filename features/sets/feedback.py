"""What customers say when they are asked, or of their own accord: reviews and surveys."""

import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, finished, last, slug
from features.settings import Strict
from features.views import AGE, View, ratio


class FeedbackConfig(Strict):
    """Windows of the counts, and which kinds of feedback carry a score."""

    windows_days: tuple[int, ...] = (90, 365)
    """Windows ``[t - w, t)``; means and shares are over the whole past."""
    low: dict[str, float] = {"review": 2, "csat": 2, "nps": 6}
    """Kind -> greatest score that counts as low, such as a detractor's."""
    lowest: float = Field(default=0, ge=-1_000_000)
    """Least score of any kind."""


class Feedback:
    """Scores given, each kind apart.

    Means are taken of scores to the hundredth.
    """

    config: FeedbackConfig
    reads = ("feedback",)

    def __init__(self, config: FeedbackConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d, low = Declare("feedback"), self.config.lowest
        columns = []
        for kind, threshold in self.config.low.items():
            name, none = slug(kind), f"no {kind} with a score was given"
            columns += [
                *[
                    d.zero(f"{name}_count", "answers", f"{kind} scores given", days)
                    for days in self.config.windows_days
                ],
                d.maybe(f"{name}_mean_points", "points", f"mean {kind} score", none, low=low),
                d.maybe(f"{name}_last_points", "points", f"the last {kind} score", none, low=low),
                d.maybe(f"{name}_trend_points", "points",
                        f"the last {kind} score minus the mean", none, low=None),
                d.share(f"{name}_low_share",
                        f"share of {kind} scores of at most {threshold:g}", none),
                d.maybe(f"{name}_last_days", "days", f"time since the last {kind} score", none),
            ]  # fmt: skip
        return columns

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a score."""
        rows = view.rows("feedback")
        age = rows[AGE]
        # Integers: a sum of floats depends on the order of the rows.
        hundredths = (rows["score"] * 100.0).round().cast("int64")
        sums: dict[str, ir.Value] = {}
        for kind, threshold in self.config.low.items():
            name, given = slug(kind), (rows[c.KIND] == kind) & rows["score"].notnull()
            sums |= {
                f"{name}_n": rows.count(where=given),
                f"{name}_total": hundredths.sum(where=given),
                f"{name}_low": rows.count(where=given & (rows["score"] <= threshold)),
                f"{name}_last": last(rows, "score", given),
                f"{name}_last_days": age.min(where=given),
            }
            for days in self.config.windows_days:
                sums[f"{name}_count_{days}d"] = rows.count(where=given & (age <= days))
        found = rows.group_by(list(KEYS)).aggregate(**sums)
        values: dict[str, ir.Value] = {}
        for name in map(slug, self.config.low):
            n, latest = found[f"{name}_n"], found[f"{name}_last"]
            mean = ratio(found[f"{name}_total"], n) / 100.0
            values |= {
                f"{name}_mean_points": mean,
                f"{name}_last_points": latest,
                f"{name}_trend_points": latest - mean,
                f"{name}_low_share": ratio(found[f"{name}_low"], n),
            }
        return finished(found.mutate(**values), self.columns())
