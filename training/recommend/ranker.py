"""The second stage: gradient-boosted trees order the candidates, explained exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.recommend.histories import Ints

if TYPE_CHECKING:
    import xgboost

    from training.models.trees import Trees

Objective = Literal["rank:ndcg", "binary:logistic"]
LOGISTIC = "binary:logistic"


class RankerConfig(Strict):
    """Settings of the trees; names as in XGBoost."""

    objectives: tuple[Objective, ...] = Field(default=("rank:ndcg",), min_length=1, max_length=2)
    """LambdaMART, logistic loss, or the sum of both: the one looks at the top of a list alone, the
    other at every candidate."""
    trees: int = Field(default=150, ge=1, le=5000)
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    max_depth: int = Field(default=6, ge=1, le=12)
    min_child_weight: float = Field(default=20, ge=0)
    subsample: float = Field(default=0.8, gt=0, le=1)
    colsample_bytree: float = Field(default=0.5, gt=0, le=1)
    reg_lambda: float = Field(default=1.0, ge=0)
    pairs: int = Field(default=10, ge=1)
    """Items from the top of each list that LambdaMART compares with those below."""


@dataclass(frozen=True)
class Taught:
    """Candidates with what became of them."""

    X: np.ndarray
    """Shape (n_pairs, n_columns), float32."""
    y: Floats
    """1 = bought within the horizon, shape (n_pairs,)."""
    sizes: Ints
    """Candidates of each customer and cutoff, in the order of the rows."""


class Ranker:
    """Scores of candidates; only their order within a customer has a meaning.

    With two objectives the score is the sum of both margins, each divided by its standard deviation
    over the rows that taught it: still a sum of trees, so still explained exactly.
    """

    config: RankerConfig

    def __init__(self, config: RankerConfig) -> None:
        self.config = config
        self.scales: tuple[float, ...] = ()
        self._boosters: list[xgboost.Booster] = []
        self._trees: list[Trees] = []

    def fit(self, blocks: Sequence[Taught], seed: int) -> None:
        """Learn from several cutoffs; lists without a purchase teach no order and are left out."""
        import xgboost

        kept = [_with_purchases(block) for block in blocks]
        data = xgboost.QuantileDMatrix(
            np.vstack([block.X for block in kept]),
            label=np.concatenate([block.y for block in kept]),
            group=np.concatenate([block.sizes for block in kept]),
        )
        settings = self.config.model_dump(exclude={"trees", "pairs", "objectives"})
        ranking = {
            "lambdarank_pair_method": "topk",
            "lambdarank_num_pair_per_sample": self.config.pairs,
            "ndcg_exp_gain": False,
        }
        boosters, scales = [], []
        for objective in self.config.objectives:
            own = ranking if objective == "rank:ndcg" else {}
            parameters = {
                "tree_method": "hist", "seed": seed, "objective": objective, **settings, **own,
            }  # fmt: skip
            booster = xgboost.train(parameters, data, num_boost_round=self.config.trees)
            spread = float(np.std(booster.predict(data, output_margin=True), dtype=np.float64))
            boosters.append(booster)
            scales.append(1 / max(spread, 1e-12))
        self._use(boosters, scales if len(boosters) > 1 else [1.0])

    def score(self, X: np.ndarray) -> Floats:
        """Scores of shape (n_pairs,)."""
        made = np.zeros(len(X))
        for scale, trees in zip(self.scales, self._trees, strict=True):
            made += scale * trees.score(X).astype(np.float64)
        return made

    def log_odds(self, X: np.ndarray) -> Floats:
        """Margins of the logistic trees alone, which compare pairs of different customers."""
        trees = self._trees[self.config.objectives.index(LOGISTIC)]
        return np.asarray(trees.score(X), np.float64)

    def explain(self, X: np.ndarray) -> tuple[float, Floats]:
        """Base, and contributions of each column, which add to the score (TreeSHAP)."""
        base, made = 0.0, np.zeros(X.shape)
        for scale, trees in zip(self.scales, self._trees, strict=True):
            own, values = trees.explain(X)
            base += scale * own
            made += scale * values
        return base, made

    def save(self) -> dict[str, bytes]:
        """Each booster in XGBoost's own binary JSON, by objective."""
        names = (o.partition(":")[2] for o in self.config.objectives)
        return {
            f"{name}.ubj": bytes(booster.save_raw("ubj"))
            for name, booster in zip(names, self._boosters, strict=True)
        }

    def load(self, files: Mapping[str, bytes], scales: Sequence[float]) -> None:
        """Restore what :meth:`save` gave."""
        import xgboost

        names = (o.partition(":")[2] for o in self.config.objectives)
        boosters = [xgboost.Booster(model_file=bytearray(files[f"{name}.ubj"])) for name in names]
        self._use(boosters, scales)

    def _use(self, boosters: Sequence["xgboost.Booster"], scales: Sequence[float]) -> None:
        from training.models.trees import Trees

        self._boosters, self.scales = list(boosters), tuple(scales)
        self._trees = [Trees(booster) for booster in boosters]


def _with_purchases(block: Taught) -> Taught:
    owner = np.repeat(np.arange(len(block.sizes)), block.sizes)
    alive = np.bincount(owner, weights=block.y, minlength=len(block.sizes)) > 0
    rows = np.repeat(alive, block.sizes)
    return Taught(block.X[rows], block.y[rows], block.sizes[alive])
