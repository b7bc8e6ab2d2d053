"""A dated outcome that the source gives, such as a recorded cancellation."""

from typing import Literal

import ibis
import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.sources import Source
from features.views import View
from training.contract import LABEL
from training.questions import KEYS, Question, QuestionConfig, Selection, Where

TABLE = "outcomes"


class OutcomeConfig(QuestionConfig):
    """Which outcome, and what it says where there is none."""

    outcome: str = Field(min_length=1)
    """Its ``name`` in the table ``outcomes``."""
    kind: Literal["event", "amount"] = "event"
    """``event``: values are 1 and 0; ``amount``: they are sums."""
    unit: str = "currency"
    """What an amount is measured in; ``currency`` is the source's own."""
    absent: float | None = None
    """Label of customers without this outcome in the window.

    None: it is not known, and they are dropped and counted.
    """


class Outcome(Question):
    """The value of a given outcome that happens within the horizon; of several, the last."""

    config: OutcomeConfig

    def __init__(self, config: OutcomeConfig) -> None:
        super().__init__(config)
        self.config = config
        self.kind = config.kind
        self.unit = config.unit if config.kind == "amount" else "probability"
        named = Where(column="name", equals=config.outcome)
        self._looked_for = Selection(table=TABLE, where=(named,))

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        """The value of the outcome in the window of each cutoff."""
        rows = self._looked_for.of(following)
        last = [rows[clock].desc() for clock in (c.EVENT_TIME, c.KNOWN_TIME, c.ROW)]
        place = ibis.row_number().over(ibis.window(group_by=KEYS, order_by=last))
        ranked = rows.mutate(place=place)
        values = ranked.filter(ranked.place == 0).select(*KEYS, "value")
        joined = spine.left_join(values, KEYS)
        label = joined["value"].cast("float64")
        if self.config.absent is None:
            joined = joined.filter(label.notnull())
        else:
            label = label.fill_null(self.config.absent)
        return joined.select(c.CUSTOMER, c.CUTOFF, **{LABEL: label})

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        return [*self._looked_for.problems(source), *super().problems(source)]
