"""Contracts as they stand at the cutoff: plan, price, term, changes, payments."""

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.schema import FeatureColumn
from features.sets._declare import KEYS, Declare, beside, finished, last
from features.settings import Strict
from features.views import AGE, View, currency, days_between, whole_seconds

SUBSCRIPTION = "subscription_id"
TERMS = ("start", "change", "renew")
"""Kinds of rows that say what holds from then on."""
SAID = ("plan", "payment_method", "price_minor", "term_days", "started", "begun_s")
"""What a contract passes on to its customer, where it is the main one."""
DAY_SECONDS = 86_400


class SubscriptionConfig(Strict):
    """Windows of the counts."""

    windows_days: tuple[int, ...] = Field(default=(30, 90, 365), min_length=1)
    """Windows ``[t - w, t)`` for payments."""


class Subscription:
    """All contracts of a customer, and the terms of the main one: the active one begun last.

    A contract is active unless it was cancelled and neither started nor renewed since. A term
    begins with a start or a renewal and is taken to follow itself where no renewal is reported.
    """

    config: SubscriptionConfig
    reads = ("subscriptions",)

    def __init__(self, config: SubscriptionConfig) -> None:
        self.config = config

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        d = Declare("subscription")
        idle, untold = "no contract is active", "no contract is active, or it does not say"
        return [
            d.zero("active", "contracts", "contracts that are active"),
            d.zero("cancelled", "contracts", "contracts that are not active any more"),
            d.word("plan", "plan of the main contract", untold),
            d.word("payment_method", "how the main contract is paid", untold),
            d.maybe("price", "currency", "price of a term of the main contract", untold),
            d.maybe("term_days", "days", "length of a term of the main contract", untold),
            d.maybe("contract_days", "days", "time since the main contract was started last",
                    f"{idle}, or its start is not known"),
            d.maybe("term_end_days", "days", "time to the end of the main contract's current term",
                    f"{idle}, or its last start or length is not known"),
            d.zero("active_price", "currency", "sum of the prices of a term of active contracts"),
            d.zero("changes", "changes", "changes of any contract"),
            d.zero("renewals", "renewals", "renewals of any contract"),
            d.zero("cancellations", "cancellations", "cancellations of any contract"),
            d.maybe("last_cancel_days", "days", "time since the last of them",
                    "nothing was cancelled"),
            *[
                column
                for days in self.config.windows_days
                for column in (
                    d.zero("payments", "payments", "payments that were made", days),
                    d.zero("failed_payments", "payments", "payments that failed", days),
                )
            ],
            d.maybe("last_payment_days", "days", "time since the last payment",
                    "no payment was made"),
            d.maybe("last_failed_payment_days", "days", "time since a payment last failed",
                    "no payment failed"),
        ]  # fmt: skip

    def build(self, view: View) -> ir.Table:
        """One row per customer and cutoff with a contract."""
        return finished(beside(self._happened(view), self._standing(view)), self.columns())

    def _happened(self, view: View) -> ir.Table:
        """What happened to any contract, counted."""
        rows = view.rows("subscriptions")
        kind, age = rows[c.KIND], rows[AGE]
        paid, failed = kind == "pay", kind == "payment_failed"
        sums = {
            "changes": rows.count(where=kind == "change"),
            "renewals": rows.count(where=kind == "renew"),
            "cancellations": rows.count(where=kind == "cancel"),
            "last_cancel_days": age.min(where=kind == "cancel"),
            "last_payment_days": age.min(where=paid),
            "last_failed_payment_days": age.min(where=failed),
        }
        for days in self.config.windows_days:
            sums[f"payments_{days}d"] = rows.count(where=paid & (age <= days))
            sums[f"failed_payments_{days}d"] = rows.count(where=failed & (age <= days))
        return rows.group_by(list(KEYS)).aggregate(**sums)

    @staticmethod
    def _standing(view: View) -> ir.Table:
        """Which contracts are active, and what the main one says."""
        contracts = _contracts(view)
        active = contracts.active
        # The greatest is the one begun last; no two have the same number.
        place = {"place": contracts.begun_s.fill_null(0), "id": contracts[SUBSCRIPTION]}
        said = {name: contracts[name] for name in SAID}
        found = contracts.group_by(list(KEYS)).aggregate(
            active=contracts.count(where=active),
            cancelled=contracts.count(where=~active),
            active_price=currency(contracts.price_minor.sum(where=active)),
            main=ibis.struct({**place, **said}).max(where=active),
        )
        main, cutoff = found["main"], found[c.CUTOFF]
        term = main["term_days"].nullif(0) * DAY_SECONDS
        passed = cutoff.epoch_seconds() - main["begun_s"]
        return found.select(
            *KEYS,
            "active",
            "cancelled",
            "active_price",
            plan=main["plan"],
            payment_method=main["payment_method"],
            price=currency(main["price_minor"]),
            term_days=main["term_days"],
            contract_days=days_between(main["started"], cutoff),
            term_end_days=(term - passed % term).cast("float64") / float(DAY_SECONDS),
        )


def _contracts(view: View) -> ir.Table:
    """One row per contract: whether it is active, since when, and what was said of it last."""
    rows = view.rows("subscriptions")
    kind, time = rows[c.KIND], rows[c.EVENT_TIME]
    terms = kind.isin(TERMS)
    contracts = rows.group_by([*KEYS, SUBSCRIPTION]).aggregate(
        plan=last(rows, "plan", terms),
        price_minor=last(rows, "price_minor", terms),
        term_days=last(rows, "term_days", terms),
        payment_method=last(rows, "payment_method", kind.notnull()),
        started=time.max(where=kind == "start"),
        begun=time.max(where=kind.isin(["start", "renew"])),
        ended=time.max(where=kind == "cancel"),
    )
    resumed = (contracts.begun > contracts.ended).fill_null(False)
    return contracts.mutate(
        active=contracts.ended.isnull() | resumed, begun_s=whole_seconds(contracts.begun)
    )
