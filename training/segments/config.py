"""What the pipeline YAML of a segmentation says beside what every one says."""

from pydantic import Field, model_validator

from features.settings import Part, Strict
from training.pipeline import Pipeline, Plan
from training.tasks.segments import Segments


class Named(Strict):
    """A segment that is known by a name of its own, from version to version.

    The review pack writes these lines for the version it judges (``names.yaml``): edit the names
    and put them into the pipeline YAML. What is learned anew is matched to ``like``.
    """

    id: str = Field(pattern=r"^[A-Z]{1,2}$")
    name: str = Field(min_length=1, max_length=80)
    like: dict[str, float] = Field(min_length=1)
    """Column -> the median of the segment's customers, in the column's unit."""


class ChooseConfig(Strict):
    """How way, columns and number of segments are chosen: on earlier cutoffs alone."""

    trials: int = Field(default=24, ge=1, le=10_000)
    """Trials of the study; the first ones see each way once."""
    k: tuple[int, int] = (3, 7)
    """Fewest and most clusters that are tried."""
    most: int = Field(default=8, ge=2, le=30)
    """Most segments that people can work with."""
    smallest: float = Field(default=0.004, ge=0, lt=0.5)
    """Least share of customers in a segment."""
    stability: float = Field(default=0.9, ge=0, le=1)
    """Least mean adjusted Rand index over refits on resampled customers."""
    bootstrap: int = Field(default=10, ge=2, le=1_000)
    """Refits in each trial."""
    penalty: float = Field(default=0.005, ge=0)
    """Taken off the share explained for each segment: fewer are easier to act on."""
    rows: int = Field(default=4_000, ge=20)
    """Customers of a cutoff that trials look at; who, is drawn by their keyed ids."""

    @model_validator(mode="after")
    def _range(self) -> "ChooseConfig":
        if not 2 <= self.k[0] <= self.k[1]:
            raise ValueError(f"k: fewest and most clusters, from 2 on; found {list(self.k)}")
        return self


class SegmentsConfig(Pipeline):
    """A pipeline YAML of a segmentation."""

    value: str = "orders__spend_365d"
    """Feature column that says what a customer is worth; segments are lettered by it."""
    ways: tuple[Part, ...] = Field(min_length=1)
    """Ways to segment, below ``training/segments/ways``."""
    columns: dict[str, tuple[str, ...]] = Field(min_length=1)
    """Sets of feature columns by name; ways without columns of their own see one of them."""
    choose: ChooseConfig = ChooseConfig()
    refits: int = Field(default=30, ge=5, le=1_000)
    """Refits on resampled customers behind stability and confidence of the chosen one."""
    names: tuple[Named, ...] = ()
    """Segments whose letters and names are kept."""

    @model_validator(mode="after")
    def _once(self) -> "SegmentsConfig":
        ids = [named.id for named in self.names]
        doubled = sorted({i for i in ids if ids.count(i) > 1})
        if doubled:
            raise ValueError(f"names: id(s) {doubled} stand twice")
        return self


SegmentsPlan = Plan[SegmentsConfig, Segments]
