"""The places of a customer: how many, where home is, and whether it moved."""

import ibis.expr.types as ir

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished, in_turn, last
from features.settings import Strict
from features.views import AGE, View


class LocationsConfig(Strict):
    """Words of the source."""

    home: str = "home"
    """Kind of the places where a customer lives."""


class Locations:
    """Places seen with a customer; home is the one reported last."""

    config: LocationsConfig
    reads = ("locations",)

    def __init__(self, config: LocationsConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d = Declare("locations")
        return [
            d.zero("places", "places", "different places"),
            d.zero("other_places", "places", "different places that are not home"),
            d.maybe("last_seen_days", "days", "time since a place was last seen",
                    "no place is known"),
            d.word("home", "place where the customer lives", "no home is known",
                   sensitivity="personal"),
            d.zero("moves", "moves", "homes that are another than the one before"),
            d.maybe("last_move_days", "days", "time since the last of them", "no move is known"),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a place."""
        rows = view.rows("locations")
        elsewhere = (rows[c.KIND] != self.config.home).fill_null(True)
        found = rows.group_by(list(KEYS)).aggregate(
            places=rows["place"].nunique(),
            other_places=rows["place"].nunique(where=elsewhere),
            last_seen_days=rows[AGE].min(),
        )
        return finished(beside(found, self._homes(view)), self.columns())

    def _homes(self, view: View) -> ir.Table:
        rows = view.rows("locations")
        homes = rows.filter(rows[c.KIND] == self.config.home)
        place = homes["place"]
        homes = homes.mutate(
            moved=(place != place.lag().over(in_turn())).fill_null(False),
        )
        return homes.group_by(list(KEYS)).aggregate(
            home=last(homes, "place", homes["place"].notnull()),
            moves=homes.count(where=homes.moved),
            last_move_days=homes[AGE].min(where=homes.moved),
        )
