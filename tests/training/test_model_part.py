"""Models averaged: the mean of log-odds, its explanations, its search, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.errors import ConfigError
from features.schema import FeatureColumn
from features.settings import Part
from tests.training import samples
from tests.training.finished import planned, settled
from training.model_part import ModelPart, built
from training.models.logistic import Ranking
from training.pipeline import load_plan
from training.supervised.constraints import held_to_catalogue
from training.tasks.churn import Churn, ChurnConfig
from training.tune import SearchConfig, tune

SEED = 5
TREES = {"trees": 30, "min_child_weight": 2}
BESIDE = (Part(use="logistic.Logistic"), Part(use="bgnbd.BgNbd", config={"horizon_days": 60}))
AVERAGED = ModelPart(use="gbm.Gbm", config=TREES, averaged_with=BESIDE)


def learned(part: Part) -> Any:
    """A model of ``part`` that learned from the sample customers."""
    X, y, _ = samples.customers(400, 1)
    model = built(part)
    model.fit(X, y, weight=None, seed=SEED)
    return model


@pytest.mark.parametrize(("own", "weights"), [(0.5, [2, 1, 1]), (0.6, [3, 1, 1])])
def test_the_score_is_the_mean_and_so_are_the_reasons(own: float, weights: list[int]) -> None:
    """Its own share and theirs: log-odds, bases, contributions; written and read the same."""
    averaged = AVERAGED.model_copy(update={"own_share": own})
    parts, whole = [learned(part) for part in (AVERAGED.alone, *BESIDE)], learned(averaged)
    X = samples.customers(200, 2)[0].to_numpy(np.float64)

    def mean(of: Any) -> Any:
        return np.average([of(part) for part in parts], axis=0, weights=weights)

    assert whole.score(X) == pytest.approx(mean(lambda part: part.score(X)), abs=1e-9)
    told = whole.explain(X)
    assert told.base == pytest.approx(mean(lambda part: part.explain(X).base), abs=1e-9)
    expected = mean(lambda part: part.explain(X).contributions)
    assert told.contributions == pytest.approx(expected, abs=1e-9)
    assert told.base + told.contributions.sum(axis=1) == pytest.approx(whole.score(X), abs=1e-4)
    read = built(averaged)
    read.load(whole.save(), whole.columns)
    assert np.array_equal(read.score(X), whole.score(X))


def test_all_of_them_see_repaired_rows() -> None:
    """Repairs stand before the mean."""
    name = "cadence__gap_mean_days"
    part = ModelPart(**AVERAGED.model_dump() | {"repairs": {name: {"impute": "median"}}})
    model = learned(part)
    X = samples.customers(200, 2)[0]
    gone = X.assign(**{name: np.nan}).to_numpy(np.float64)
    scores = model.score(gone)
    fill = float(np.nanmedian(samples.customers(400, 1)[0][name]))
    marked = model.model.score(model.repaired(gone))
    assert np.array_equal(scores, marked)
    assert (model.repaired(gone)[:, X.columns.get_loc(name)] == fill).all()


def test_the_search_is_for_the_model_alone() -> None:
    """Trials are those of the model alone; what it is averaged with stays beside what they find."""
    splits = samples.splits(n=60)
    search = SearchConfig(trials=3, early_stopping=True, space={"max_depth": (1, 4)})

    def found(part: ModelPart) -> Any:
        return tune(splits.shipped, "event", part, search, SEED, None, lambda *_: None)

    (alone, trials), (whole, same) = found(AVERAGED.alone), found(AVERAGED)
    assert trials.equals(same)
    assert whole == alone.model_copy(update={"averaged_with": BESIDE})
    assert whole.named == "gbm.Gbm + logistic.Logistic + bgnbd.BgNbd"


def test_what_does_not_fit_is_refused_before_data_are_read(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No log-odds, no such model, wrong settings, a question that tells more than a number."""
    place = settled(tmp_path, monkeypatch)
    for beside, said in (
        ("{use: gbm.Tweedie}", r"\['gbm.Tweedie'\] give no log-odds of an event"),
        ("{use: woods.Forest}", "training.models has no file 'woods'"),
        ("{use: logistic.Logistic, config: {c: 1}}", "unknown key"),
    ):
        with pytest.raises(ConfigError, match=said):
            planned(place, f"model.averaged_with=[{beside}]")
    beside = "model.averaged_with=[{use: logistic.Logistic}]"
    with pytest.raises(ConfigError, match="leave averaged_with out"):
        load_plan(place, place.configs / "timing.yaml", [beside])


def test_the_catalogue_holds_the_model_itself() -> None:
    """Signs beside it would not hold the mean; they are refused by name."""
    columns = (FeatureColumn(name="a", unit="d", meaning="a", missing="never", buying="less"),)
    held = {"monotone_constraints": "catalogue"}
    part = ModelPart(use="gbm.Gbm", config=held, averaged_with=BESIDE)
    told = held_to_catalogue(part, columns, Churn(ChurnConfig()))
    assert told.config == {"monotone_constraints": {"a": 1}}
    assert told.averaged_with == BESIDE
    odd = part.model_copy(update={"averaged_with": (Part(use="gbm.Gbm", config=held),)})
    with pytest.raises(ConfigError, match=r"averaged_with: gbm\.Gbm: monotone_constraints"):
        held_to_catalogue(odd, columns, Churn(ChurnConfig()))


@given(
    hnp.arrays(np.float64, (3, 9), elements=st.floats(-4, 4).map(lambda v: round(v, 1))),
    st.integers(0, 2**20),
)
def test_ranks_are_the_mean_of_left_and_right_ones(knots: Any, seed: int) -> None:
    """By NumPy's interpolation, ties and ends included; alone a row has the same ranks."""
    knots = np.sort(knots, axis=1)
    X = np.random.default_rng(seed).choice(
        np.concatenate([knots.ravel(), [-9.0, 9.0, 0.05, np.inf]]), size=(300, 3)
    )
    grid, ranks = np.linspace(-1.0, 1.0, 9), Ranking(knots)(X)
    for column, own, found in zip(X.T, knots, ranks.T, strict=True):
        values, first = np.unique(own, return_index=True)
        last = np.append(first[1:], 9) - 1
        sides = [np.interp(column, values, grid[side]) for side in (first, last)]
        assert found == pytest.approx(np.mean(sides, axis=0), abs=1e-12)
    assert np.array_equal(Ranking(knots)(X[7:8]), ranks[7:8])
