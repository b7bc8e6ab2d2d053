"""What the catalogue says of buying: put into a config, and kept by the trees."""

import numpy as np
import pytest

from features.catalogue import entries, every_set
from features.errors import ConfigError
from features.schema import FeatureColumn
from features.settings import resolve
from tests.training import samples
from training.bundle import MODELS
from training.model_part import ModelPart
from training.supervised.constraints import held_to_catalogue
from training.tasks.amount import Amount, AmountConfig
from training.tasks.churn import Churn, ChurnConfig
from training.tasks.event import Event, EventConfig

COLUMNS = (
    FeatureColumn(name="a", unit="days", meaning="a", missing="never", buying="less"),
    FeatureColumn(name="b", unit="days", meaning="b", missing="never"),
    FeatureColumn(name="c", unit="days", meaning="c", missing="never", buying="more"),
)
SMALL = {"trees": 40, "min_child_weight": 2, "colsample_bytree": 1}
ASKED = {"monotone_constraints": "catalogue", "max_depth": 2}
CHURN = Churn(ChurnConfig())
ASKS = {"name": "q", "output": "q", "question": "Within {horizon_days} days?", "horizon_days": 30}


def test_signs_follow_the_question() -> None:
    """Recency speaks against buying, so for churn; an amount rises with buying."""
    held = held_to_catalogue(ModelPart(use="gbm.Gbm", config=ASKED), COLUMNS, CHURN)
    assert held.config == {"monotone_constraints": {"a": 1, "c": -1}, "max_depth": 2}
    part = ModelPart(use="gbm.Tweedie", config=ASKED)
    spent = held_to_catalogue(part, COLUMNS, Amount(AmountConfig(**ASKS)))
    assert spent.config["monotone_constraints"] == {"a": -1, "c": 1}


def test_parts_of_a_blend_are_held_too() -> None:
    """And what asks for nothing stays as it is."""
    blend = ModelPart(use="blend.Blend", config={"parts": [
        {"use": "logistic.Logistic"}, {"use": "gbm.Gbm", "config": ASKED},
    ]})  # fmt: skip
    plain, trees = held_to_catalogue(blend, COLUMNS, CHURN).config["parts"]
    assert plain == {"use": "logistic.Logistic"}
    assert trees["config"]["monotone_constraints"] == {"a": 1, "c": -1}
    untouched = ModelPart(use="gbm.Gbm", config={"monotone_constraints": {"a": 1}})
    assert held_to_catalogue(untouched, COLUMNS, CHURN) is untouched


def test_a_question_about_something_else_is_refused() -> None:
    """Tickets say nothing of buying, and columns may not either."""
    tickets = Event(EventConfig(table="feedback", **ASKS))
    part = ModelPart(use="gbm.Gbm", config=ASKED)
    with pytest.raises(ConfigError, match="it is not about buying; name columns with 1 or -1"):
        held_to_catalogue(part, COLUMNS, tickets)
    with pytest.raises(ConfigError, match="no column of its sets says which way"):
        held_to_catalogue(part, COLUMNS[1:2], CHURN)


def test_the_catalogue_shows_it() -> None:
    """Recency and counts of orders are declared."""
    told = {line["column"]: line["more of it"] for line in entries(every_set()[0])}
    assert told["rfm__recency_days"] == "less buying"
    assert told["orders__orders_90d"] == "more buying"
    assert told["rfm__T_days"] == "not declared"


def test_trees_keep_the_sign() -> None:
    """Held the wrong way round, the score never rises with the column; free, it does."""
    X, y, _ = samples.customers(400, 1)
    name = next(n for n in X if np.corrcoef(X[n].fillna(0), y)[0, 1] > 0.1)
    rows = X.to_numpy(np.float64)[:50]
    grid = np.nanquantile(X[name], np.linspace(0, 1, 15))

    def slopes(**config: object) -> np.ndarray:
        model = resolve(MODELS, ModelPart(use="gbm.Gbm", config={**SMALL, **config}))
        model.fit(X, y, weight=None, seed=0)
        at = model.columns.index(name)
        scores = []
        for value in grid:
            moved = rows.copy()
            moved[:, at] = value
            scores.append(model.score(moved))
        return np.diff(np.array(scores), axis=0)

    assert slopes().max() > 0
    assert slopes(monotone_constraints={name: -1}).max() <= 1e-6
