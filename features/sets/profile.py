"""Who a customer says to be: the last version of the declared attributes that is known."""

import ibis
import ibis.expr.types as ir

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished, in_turn
from features.settings import Strict
from features.views import AGE, View, days_between

SAID = ("acquisition_channel", "region", "country", "language", "gender", "birth_year")
"""What may change from version to version; the time of signing up is corrected, not changed."""
OLDEST_YEARS = 120


class ProfileConfig(Strict):
    """Nothing to set."""


class Profile:
    """Tenure, age and categories, and how often they were changed."""

    config: ProfileConfig
    reads = ("customers",)

    def __init__(self, config: ProfileConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d = Declare("profile", leak="declared")
        untold = "not declared"
        return [
            d.maybe("tenure_days", "days", "time since the account was opened",
                    "no time of signing up before the cutoff is declared"),
            d.maybe("age_years", "years", "year of the cutoff minus year of birth",
                    f"no year of birth that makes 0 to {OLDEST_YEARS} years is declared",
                    high=OLDEST_YEARS, sensitivity="audit"),
            d.word("acquisition_channel", "channel through which the customer came", untold),
            d.word("region", "part of the country", untold, sensitivity="personal"),
            d.word("country", "country of residence", untold, sensitivity="personal"),
            d.word("language", "preferred language", untold, sensitivity="personal"),
            d.word("gender", "as declared", untold, sensitivity="audit"),
            d.zero("changes", "changes", "versions that say other than the one before"),
            d.maybe("last_change_days", "days", "time since the last of them", "nothing changed"),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a version."""
        last = view.latest("customers")
        years = last[c.CUTOFF].year() - last["birth_year"]
        signed_up = last["signup_time"]
        told = last.select(
            *KEYS,
            *[name for name in SAID if name != "birth_year"],
            tenure_days=ibis.ifelse(
                signed_up < last[c.CUTOFF], days_between(signed_up, last[c.CUTOFF]), None
            ),
            age_years=ibis.ifelse((years >= 0) & (years <= OLDEST_YEARS), years, None),
        )
        return finished(beside(told, self._changes(view)), self.columns())

    @staticmethod
    def _changes(view: View) -> ir.Table:
        rows = view.rows("customers")
        other = ibis.or_(
            *(~rows[name].identical_to(rows[name].lag().over(in_turn())) for name in SAID)
        )
        first = rows[c.ROW].lag().over(in_turn()).isnull()
        versions = rows.mutate(changed=other & ~first)
        return versions.group_by(list(KEYS)).aggregate(
            changes=versions.count(where=versions.changed),
            last_change_days=versions[AGE].min(where=versions.changed),
        )
