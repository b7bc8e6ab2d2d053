"""When an event comes: the first order, a cancellation, or that none comes within the horizon."""

import ibis.expr.types as ir
from pydantic import Field, model_validator

from features import columns as c
from features.settings import Part
from features.sources import Source
from features.views import View
from training.contract import DAY, LABEL
from training.questions import KEYS, ORDERS, Question, QuestionConfig, Selection, Where

DAY_SECONDS = 86_400


class TimingConfig(QuestionConfig):
    """Which rows are the event, and by which days the answer tells of it."""

    table: str = ORDERS
    """``orders``: orders kept, net of returns; else a canonical table of customers."""
    where: tuple[Where, ...] = ()
    """Conditions on its columns; all must hold."""
    absent: bool = False
    """True: the number is the chance that it does *not* come, as of churn."""
    points_days: tuple[int, ...] = Field(default=(30, 60, 90), min_length=1)
    """Days by which the event is told of besides the horizon; rising, all below it."""
    coverage: float = Field(default=0.8, gt=0, lt=1)
    """Share of intervals of days that hold the event."""
    since: str | None = None
    """Feature with the days since the last event; with it, answers say what is overdue."""
    usual: str | None = None
    """Feature with a customer's own usual days between events: past them the next one is due."""
    longest: str | None = None
    """Feature with his longest days between events: past them it is overdue."""

    @model_validator(mode="after")
    def _fits(self) -> "TimingConfig":
        points = self.points_days
        if list(points) != sorted(set(points)) or points[0] < 1 or points[-1] >= self.horizon_days:
            raise ValueError(
                f"points_days: {list(points)}: expected rising days from 1 on, below the horizon "
                f"of {self.horizon_days}"
            )
        if len({name is None for name in (self.since, self.usual, self.longest)}) > 1:
            raise ValueError("since, usual and longest: name all three features, or none")
        return self


class Timing(Question):
    """Whether the first event comes within the horizon, and on which day."""

    config: TimingConfig

    def __init__(self, config: TimingConfig) -> None:
        super().__init__(config)
        self.config = config
        self.points_days = config.points_days
        self._looked_for = Selection(table=config.table, where=config.where)
        told = ("output", "horizon_days", "points_days", "absent", "coverage", "since", "usual")
        said = config.model_dump(mode="json")
        self.details = Part(
            use="timing.EventTiming", config={name: said[name] for name in (*told, "longest")}
        )

    def label(self, spine: ir.Table, following: View) -> ir.Table:
        """The day of the first event, 1 being the first after the cutoff, and whether it comes."""
        rows = self._looked_for.of(following)
        after = rows[c.EVENT_TIME].epoch_seconds() - rows[c.CUTOFF].epoch_seconds()
        first = rows.group_by(KEYS).aggregate(day=(after // DAY_SECONDS + 1).min())
        joined = spine.left_join(first, KEYS)
        comes = joined.day.notnull()
        label = (~comes if self.config.absent else comes).cast("float64")
        day = joined.day.fill_null(0).cast("float64")
        return joined.select(c.CUSTOMER, c.CUTOFF, **{LABEL: label, DAY: day})

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        return [*self._looked_for.problems(source), *super().problems(source)]
