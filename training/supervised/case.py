"""What judging a supervised answer found: all that its review pack is written from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.cutoffs import Snapshots
from training.bundle import Loaded
from training.card import Case
from training.contract import Explanation, Floats
from training.evaluate import Judged
from training.gates import CANDIDATE
from training.rows import Rows
from training.supervised.bundle import Bundle
from training.supervised.config import SupervisedPlan
from training.supervised.learn import Reported
from training.supervised.timing_report import TimingReport
from training.supervised.value_report import ValueReport


@dataclass(frozen=True)
class SupervisedCase(Case):
    """A candidate, the rows that it was judged on, and its answers beside others'."""

    plan: SupervisedPlan
    made: Bundle
    champion: Loaded | None
    reported: Reported
    """The rows as they were asked, words as words, with every answer."""
    rows: Rows
    """The same rows, words as numbers."""
    judged: Judged
    by_slice: pd.DataFrame
    explained: Explanation
    """Of the rows drawn to be explained."""
    alarms: list[tuple[str, float]]
    """Features that tell the answer alone, with their ROC-AUC or rank correlation."""
    costs: dict[str, float]
    """Latency, size and memory."""
    value: ValueReport | None
    """Of answers that tell customer values."""
    timing: TimingReport | None
    """Of answers that tell when."""

    @property
    def crossed(self) -> bool:
        """Whether customers were divided, because there is no clock."""
        return isinstance(self.plan.config.cutoffs, Snapshots)

    @property
    def space(self) -> str:
        """What scores and contributions are measured in."""
        return self.made.answer.space

    @property
    def unit(self) -> str:
        """What answers are measured in."""
        unit = self.plan.task.unit
        return self.plan.source.currency if unit == "currency" else unit

    @property
    def answers(self) -> Floats:
        """What the candidate answered, shape (n_rows,)."""
        return self.reported.given[CANDIDATE]

    @property
    def named(self) -> NDArray[np.bool_]:
        """Which rows of an event are at or above the candidate's threshold, shape (n_rows,)."""
        found: NDArray[np.bool_] = self.answers >= self.reported.thresholds[CANDIDATE]
        return found

    @property
    def draws(self) -> tuple[int, int]:
        """Number of bootstrap draws, and their seed."""
        return self.plan.config.bootstrap, self.plan.config.seed
