"""What the pipeline YAML of a supervised question says beside what every one says."""

from typing import Annotated

from pydantic import Field, model_validator

from training.calibrate import CalibrateConfig
from training.contract import Task
from training.gates import CANDIDATE
from training.model_part import ModelPart
from training.pipeline import Pipeline, Plan
from training.supervised.decide import DecideConfig
from training.supervised.learn import baseline_names
from training.supervised.levers import LeversConfig
from training.supervised.sets import SetsConfig
from training.supervised.tiers import TiersConfig
from training.tune import SearchConfig


class SupervisedConfig(Pipeline):
    """A pipeline YAML of a supervised question: its answer, and how it is learned."""

    model: ModelPart
    baselines: tuple[ModelPart, ...] = Field(min_length=1)
    """Always run and shown; the first is the declared baseline that gates speak of."""
    half_life_days: float | None = Field(default=None, gt=0)
    """Rows that teach count half as much for each so many days that their cutoff lies before the
    newest that teaches; None: all alike."""
    search: SearchConfig = SearchConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    decide: DecideConfig | None = None
    """What a contact costs and brings; its threshold is then the one that is served."""
    sets: SetsConfig | None = None
    """Of an event: whether answers come with a set that holds the true one with a given share."""
    tiers: TiersConfig | None = None
    """Of an event: whether answers come with a tier, and how large the upper ones are."""
    levers: LeversConfig | None = None
    """What a business can move: how answers would move with it is shown."""
    audit: tuple[str, ...] = ()
    """Feature columns that no model may learn from: answers are judged by them. Columns that their
    sets declare so are put aside without being named."""

    stale_months: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 4, 8)
    """Ages in months of models that are learned to show how answers age."""

    @model_validator(mode="after")
    def _distinct(self) -> "SupervisedConfig":
        names = baseline_names(self.baselines)
        if len(set(names)) < len(names) or {CANDIDATE, "champion"} & set(names):
            raise ValueError(f"baselines: each needs a file of its own, found {names}")
        return self


SupervisedPlan = Plan[SupervisedConfig, Task]
