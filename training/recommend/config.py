"""What the pipeline YAML of recommendations says beside what every one says."""

from pydantic import Field, model_validator

from features.settings import Part
from training.pipeline import Pipeline, Plan
from training.recommend.ranker import RankerConfig
from training.recommend.shelf import ShelfConfig
from training.tasks.recommend import Recommend


class ListsConfig(Pipeline):
    """A pipeline YAML of recommendations."""

    makers: tuple[Part, ...] = Field(min_length=1)
    """Candidate makers, below ``training/recommend/makers``."""
    candidates: ShelfConfig = ShelfConfig()
    rankers: tuple[RankerConfig, ...] = Field(default=(RankerConfig(),), min_length=1)
    """Settings that are tried; for each list the best on the validation cutoff learns."""
    most_customers: int = Field(default=2_000, ge=10)
    """Customers of a teaching cutoff that rankers learn from; who, is drawn by the seed."""
    baselines: tuple[Part, ...] = Field(min_length=1)
    """Makers that are judged alone, beside the candidate; the first is the one gates speak of."""
    golden: int = Field(default=12, ge=1, le=200)
    """Invented histories whose lists are recorded in the bundle."""

    @model_validator(mode="after")
    def _once(self) -> "ListsConfig":
        for what, parts in (("makers", self.makers), ("baselines", self.baselines)):
            uses = [part.use for part in parts]
            doubled = sorted({use for use in uses if uses.count(use) > 1})
            if doubled:
                raise ValueError(f"{what}: {doubled} stand twice")
        return self


ListsPlan = Plan[ListsConfig, Recommend]
