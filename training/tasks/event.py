"""An event within a horizon, or that it does not happen."""

import ibis.expr.types as ir
from pydantic import Field

from features import columns as c
from features.sources import Source
from features.views import View
from training.contract import LABEL
from training.questions import KEYS, ORDERS, Question, QuestionConfig, Selection, Where


class EventConfig(QuestionConfig):
    """Which rows of the window are the event."""

    table: str = ORDERS
    """``orders``: orders kept, net of returns; else a canonical table of customers."""
    where: tuple[Where, ...] = ()
    """Conditions on its columns; all must hold."""
    at_least: int = Field(default=1, ge=1)
    """So many rows make the event."""
    absent: bool = False
    """True: the question is whether it does *not* happen."""


class Event(Question):
    """Whether rows that meet the conditions come within the horizon."""

    config: EventConfig

    def __init__(self, config: EventConfig) -> None:
        super().__init__(config)
        self.config = config
        self._looked_for = Selection(table=config.table, where=config.where)
        self._at_least, self._absent = config.at_least, config.absent
        if config.table == ORDERS:
            self.buying = -1 if config.absent else 1

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        """1 where the event comes (or does not, if that is asked), else 0."""
        rows = self._looked_for.of(following)
        found = rows.group_by(KEYS).aggregate(found=rows.count())
        joined = spine.left_join(found, KEYS)
        happened = joined.found.fill_null(0) >= self._at_least
        label = (~happened if self._absent else happened).cast("float64")
        return joined.select(c.CUSTOMER, c.CUTOFF, **{LABEL: label})

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        return [*self._looked_for.problems(source), *super().problems(source)]
