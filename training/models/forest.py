"""Random forest: deep trees on drawn rows and columns, each grown alone."""

from pydantic import Field

from features.settings import Strict
from training.models.gbm import Gbm


class ForestConfig(Strict):
    """Settings of the trees; names as in XGBoost."""

    trees: int = Field(default=300, ge=1, le=5000)
    """Trees, none of which knows of the others."""
    max_depth: int = Field(default=6, ge=1, le=12)
    min_child_weight: float = Field(default=5, ge=0)
    """Least sum of hessians in a leaf."""
    subsample: float = Field(default=0.63, gt=0, le=1)
    """Share of rows per tree."""
    colsample_bynode: float = Field(default=0.4, gt=0, le=1)
    """Share of columns that a split chooses from."""
    reg_lambda: float = Field(default=1.0, ge=0)
    """L2 penalty on leaf values."""


class Forest(Gbm):
    """Breiman (2001) by XGBoost: one round of parallel trees, each from the base rate.

    A leaf holds one Newton step of the log-odds, so that trees add up and explanations are those of
    :class:`~training.models.gbm.Gbm`.
    """

    config: ForestConfig  # type: ignore[assignment]
    staged = None  # type: ignore[assignment]  # one round, nothing to stop

    def _rounds(self) -> tuple[int, dict[str, object]]:
        settings: dict[str, object] = self.config.model_dump()
        return 1, {"num_parallel_tree": settings.pop("trees"), "learning_rate": 1.0, **settings}
