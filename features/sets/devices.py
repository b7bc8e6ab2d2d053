"""The devices of a customer: how many, how new, and who else uses them."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, finished, slug
from features.settings import Strict
from features.views import AGE, View

DEVICE = "device_id"


class DevicesConfig(Strict):
    """Windows, and the words of the source that are told apart."""

    window_days: int = Field(default=90, ge=1)
    """Window ``[t - w, t)`` for devices that are in use."""
    kinds: tuple[str, ...] = ("phone", "tablet", "computer")
    """Kinds of devices that are counted apart."""


class Devices:
    """Devices seen with a customer.

    That a device is shared is told by the rows of other customers, so these columns depend on
    others by intent.
    """

    config: DevicesConfig
    reads = ("devices",)
    of_others = True
    """Values depend on the rows of other customers."""

    def __init__(self, config: DevicesConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d = Declare("devices")
        return [
            d.zero("total", "devices", "different devices ever seen"),
            d.zero("used", "devices", "different devices seen", self.config.window_days),
            *[
                d.zero(f"{slug(kind)}_total", "devices", f"different devices seen as a {kind}")
                for kind in self.config.kinds
            ],
            d.zero("shared_total", "devices", "devices that were seen with another customer too"),
            d.maybe("last_new_days", "days", "time since a new device was last seen",
                    "no device is known"),
            d.maybe("last_seen_days", "days", "time since a device was last seen",
                    "no device is known"),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a device."""
        rows = view.rows("devices")
        kinds = {
            f"kind_{k}": rows.count(where=rows[c.KIND] == kind)
            for k, kind in enumerate(self.config.kinds)
        }
        devices = rows.group_by([*KEYS, DEVICE]).aggregate(
            newest=rows[AGE].min(), oldest=rows[AGE].max(), **kinds
        )
        users = devices.count().over(ibis.window(group_by=[c.CUTOFF, DEVICE]))
        devices = devices.mutate(users=users)
        days = self.config.window_days
        found = devices.group_by(list(KEYS)).aggregate(
            total=devices.count(),
            shared_total=devices.count(where=devices.users > 1),
            last_new_days=devices.oldest.min(),
            last_seen_days=devices.newest.min(),
            **{f"used_{days}d": devices.count(where=devices.newest <= days)},
            **{
                f"{slug(kind)}_total": devices.count(where=devices[f"kind_{k}"] > 0)
                for k, kind in enumerate(self.config.kinds)
            },
        )
        return finished(found, self.columns())
