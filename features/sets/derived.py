"""What approved models said of a customer before: segment, stage, topic, rule hits."""

import ibis.expr.types as ir
from pydantic import Field

from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished, in_turn, last, slug
from features.settings import Strict
from features.views import AGE, View


class DerivedConfig(Strict):
    """Which answers of models are taken, by their names."""

    labels: tuple[str, ...] = ("segment", "stage", "topic")
    """Answers that are words."""
    values: tuple[str, ...] = ()
    """Answers that are numbers."""
    counted: tuple[str, ...] = ("rule",)
    """Answers that are counted, such as the hits of a rule."""
    windows_days: tuple[int, ...] = Field(default=(30, 365), min_length=1)
    """Windows ``[t - w, t)`` for what is counted."""


class Derived:
    """The last answer of each name as it was said and known before the cutoff.

    Answers are dated by when they were given, not by what they speak of: a model that has learned
    from a later cutoff cannot have answered yet.
    """

    config: DerivedConfig
    reads = ("derived",)

    def __init__(self, config: DerivedConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d, columns = Declare("derived", leak="model"), []
        for name in self.config.labels:
            untold = f"no model said a {name}"
            columns += [
                d.word(slug(name), f"{name} that a model said last", untold),
                d.maybe(f"{slug(name)}_changed_days", "days",
                        f"time since the {name} became what it is", untold),
                d.zero(f"{slug(name)}_changes", "changes", f"times that the {name} changed"),
            ]  # fmt: skip
        for name in self.config.values:
            untold = f"no model said a {name}"
            columns += [
                d.maybe(f"{slug(name)}_value", "value", f"{name} that a model said last", untold,
                        low=None),
                d.maybe(f"{slug(name)}_said_days", "days", "time since it was said", untold),
            ]  # fmt: skip
        for name in self.config.counted:
            columns += [
                *[
                    d.zero(f"{slug(name)}_hits", "hits", f"answers called {name}", days)
                    for days in self.config.windows_days
                ],
                d.maybe(f"{slug(name)}_last_days", "days", f"time since the last {name}",
                        f"no {name} was said"),
            ]  # fmt: skip
        return columns

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff of whom a model said something."""
        rows = view.rows("derived")
        name, age = rows["name"], rows[AGE]
        sums = {"rows": rows.count()}
        for answer in self.config.values:
            given = (name == answer) & rows["value"].notnull()
            sums[f"{slug(answer)}_value"] = last(rows, "value", given)
            sums[f"{slug(answer)}_said_days"] = age.min(where=given)
        for hit in self.config.counted:
            sums[f"{slug(hit)}_last_days"] = age.min(where=name == hit)
            for days in self.config.windows_days:
                sums[f"{slug(hit)}_hits_{days}d"] = rows.count(where=(name == hit) & (age <= days))
        found = rows.group_by(list(KEYS)).aggregate(**sums)
        return finished(beside(found, self._words(view)), self.columns())

    def _words(self, view: View) -> ir.Table:
        rows = view.rows("derived")
        given = rows.filter(rows["label"].notnull())
        before = given["label"].lag().over(in_turn("name"))
        said = given.mutate(first=before.isnull(), changed=given["label"] != before)
        words: dict[str, ir.Value] = {}
        for name in self.config.labels:
            one = said["name"] == name
            words |= {
                slug(name): last(said, "label", one),
                f"{slug(name)}_changed_days": said[AGE].min(
                    where=one & (said.changed | said.first)
                ),
                f"{slug(name)}_changes": said.count(where=one & said.changed),
            }
        return said.group_by(list(KEYS)).aggregate(**words)
