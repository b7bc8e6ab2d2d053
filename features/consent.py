"""Who allowed what, as known at a moment: the filter on who is asked about, exported or contacted.

The ledger is the canonical table ``consents``: what happened last counts, of what happened at the
same time a revocation. A grant or a revocation without a channel is for every channel.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.errors import DataError
from features.settings import Strict
from features.views import View

if TYPE_CHECKING:
    from features.tables import Stored

CONSENTS = "consents"


class Consent(Strict):
    """What customers must have allowed, as known at each cutoff, to be looked at at all."""

    purpose: str = Field(min_length=1)
    """As the source's ledger calls it, such as ``analytics``."""
    channel: str | None = None
    """Such as ``email``; None asks for a consent that is not tied to a channel."""


def allowed(view: View, purpose: str, channel: str | None = None) -> ir.Table:
    """Customers whose consent is in force at each cutoff.

    Parameters
    ----------
    purpose
        As the ledger calls it, such as ``marketing``.
    channel
        Such as ``email``; None asks for a consent that is not tied to a channel.

    Returns
    -------
    ibis.Table
        ``customer_id, cutoff``, one row each. Nobody without an entry in the ledger is among them.

    Raises
    ------
    DataError
        If the source brings no consents: then its lawful basis speaks, and not this filter.
    """
    if not view.has(CONSENTS):
        raise DataError(
            "the source brings no table 'consents': what may be done rests on its lawful_basis"
        )
    rows = view.rows(CONSENTS)
    concerned = rows[c.CHANNEL].isnull()
    if channel is not None:
        concerned = concerned | (rows[c.CHANNEL] == channel)
    rows = rows.filter((rows.purpose == purpose) & concerned)
    # A row that was learned later of the same moment may correct the earlier, but never undo a
    # revocation: of one moment, revocations come first.
    order = [rows[c.EVENT_TIME].desc(), rows.granted.asc()]
    place = ibis.row_number().over(ibis.window(group_by=[c.CUSTOMER, c.CUTOFF], order_by=order))
    ranked = rows.mutate(place=place)
    last = ranked.filter(ranked.place == 0)
    return last.filter(last.granted).select(c.CUSTOMER, c.CUTOFF)


def allowed_refs(
    stored: "Stored", moment: datetime, purpose: str, channel: str | None
) -> list[str]:
    """The source's own numbers of customers whose consent is in force at ``moment``, in order."""
    names = stored.source_ids()
    with stored.open() as tables:
        found = allowed(tables.asof([moment]), purpose, channel).to_pyarrow()
    return sorted(names[number] for number in found[c.CUSTOMER].to_pylist())
