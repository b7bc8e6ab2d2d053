"""A sum within a horizon, such as what a customer will spend."""

import ibis.expr.types as ir

from features import columns as c
from features.sources import Source
from features.views import View, currency
from training.contract import LABEL, Kind
from training.questions import KEYS, ORDERS, Question, QuestionConfig, Selection, Where

MINOR_ENDING = "_minor"
"""Columns so named hold minor units of the currency; sums of them are told in whole ones."""


class AmountConfig(QuestionConfig):
    """What is summed over the rows of the window."""

    table: str = ORDERS
    """``orders``: orders kept, net of returns; else a canonical table of customers."""
    where: tuple[Where, ...] = ()
    """Conditions on its columns; all must hold."""
    column: str = c.AMOUNT
    """What is summed; no sum may be below 0."""
    unit: str = "currency"
    """What sums are measured in; ``currency`` is the source's own."""


class Amount(Question):
    """The sum of a column over rows of the window that meet the conditions; none is 0."""

    config: AmountConfig
    kind: Kind = "amount"

    def __init__(self, config: AmountConfig) -> None:
        super().__init__(config)
        self.config = config
        self.unit = config.unit
        self._column = config.column
        self.buying = 1 if config.table == ORDERS else 0
        self._looked_for = Selection(table=config.table, where=config.where)

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        """The sum in whole units; amounts are summed as whole numbers, so order cannot matter."""
        rows = self._looked_for.of(following)
        column = rows[self._column]
        minor = self._column.endswith(MINOR_ENDING)
        total = currency(column.sum().cast("int64")) if minor else column.sum().cast("float64")
        sums = rows.group_by(KEYS).aggregate(total=total)
        joined = spine.left_join(sums, KEYS)
        label = joined.total.fill_null(0.0).cast("float64")
        return joined.select(c.CUSTOMER, c.CUTOFF, **{LABEL: label})

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        looked_for = self._looked_for.problems(source, [self._column])
        return [*looked_for, *super().problems(source)]
