"""Every model keeps the contract, and the contract catches those that would not."""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

import training.models
from tests.contracts import models as contract
from training.contract import Explanation, matrix
from training.models.logistic import Logistic

FOUND = contract.discover()


@pytest.mark.parametrize("check", contract.CHECKS)
@pytest.mark.parametrize("use", FOUND)
def test_model_keeps_contract(use: str, check: str) -> None:
    """A model found in ``training/models`` keeps the promise that ``check`` is about."""
    contract.CHECKS[check](FOUND[use])


def test_every_file_is_found() -> None:
    """Each file in ``training/models`` that says what it answers has a model under contract."""
    folder = Path(training.models.__path__[0])
    texts = {path.stem: path.read_text() for path in folder.glob("*.py")}
    files = {
        name
        for name, text in texts.items()
        if re.search(r"^    answers\b|^class \w+\(Gbm\)", text, re.M)
    }
    assert {use.split(".")[0] for use in FOUND} == files
    assert set(FOUND) >= {
        "gbm.Gbm",
        "gbm.Tweedie",
        "past_value.PastValue",
        "logistic.Logistic",
        "recency.Recency",
    }


class _Forgetful(Logistic):
    """Loses its flags of missing values on the way to disk."""

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        super().load(files, columns)
        self._arrays["missing"] = np.zeros_like(self._arrays["missing"])


class _Pickler(Logistic):
    """Saves its arrays as a pickle under a native name."""

    def save(self) -> dict[str, bytes]:
        return {"model.json": pickle.dumps(self._arrays)}


class _ObjectPickler(Logistic):
    """Saves an array of objects, which numpy pickles."""

    def save(self) -> dict[str, bytes]:
        import io

        stream = io.BytesIO()
        np.savez(stream, arrays=np.array([self._arrays], dtype=object))
        return {"model.npz": stream.getvalue()}


class _Moody(Logistic):
    """Draws from the global random state."""

    def fit(self, X: Any, y: Any, *, weight: Any = None, seed: int = 0) -> None:
        super().fit(X, y, weight=weight, seed=seed)
        self._arrays["intercept"] = self._arrays["intercept"] + np.random.default_rng().normal()


class _Hoarder(Logistic):
    """Keeps the frame it learned from."""

    def fit(self, X: Any, y: Any, *, weight: Any = None, seed: int = 0) -> None:
        super().fit(X, y, weight=weight, seed=seed)
        self.learned_from = {"rows": [X]}


class _Secretive(Logistic):
    """Keeps the labels in a closure."""

    def fit(self, X: Any, y: Any, *, weight: Any = None, seed: int = 0) -> None:
        super().fit(X, y, weight=weight, seed=seed)
        self.recall = lambda: y


class _Sociable(Logistic):
    """Scores a row by what else was asked."""

    def score(self, X: Any) -> Any:
        scores = super().score(X)
        return scores - scores.mean()


class _Boaster(Logistic):
    """Exaggerates its contributions."""

    def explain(self, X: Any) -> Explanation:
        said = super().explain(X)
        return Explanation(said.base, said.contributions * 1.001, X, said.columns, said.space)

    def score(self, X: Any) -> Any:
        return Logistic.explain(self, X).scores


class _Misattributing(Logistic):
    """Gives each column the credit of its neighbour; the sum stays."""

    def explain(self, X: Any) -> Explanation:
        said = super().explain(X)
        turned = np.roll(said.contributions, 1, axis=1)
        return Explanation(said.base, turned, X, said.columns, said.space)


class _Offset(Logistic):
    """Explains its scores from a base that they do not have."""

    def explain(self, X: Any) -> Explanation:
        said = super().explain(X)
        return Explanation(said.base + 0.1, said.contributions, X, said.columns, said.space)


class _Wandering(Logistic):
    """Takes a contribution for the base."""

    def explain(self, X: Any) -> Explanation:
        said = super().explain(X)
        taken = said.contributions.copy()
        taken[:, 0] = 0.0
        base = said.base + said.contributions[:, 0]
        return Explanation(base, taken, X, said.columns, said.space)


class _Splitter(Logistic):
    """Explains in children of the columns."""

    def explain(self, X: Any) -> Explanation:
        said = super().explain(X)
        halves = np.repeat(said.contributions / 2, 2, axis=1)
        names = tuple(f"{name}_{k}" for name in said.columns for k in (0, 1))
        return Explanation(said.base, halves, np.repeat(X, 2, axis=1), names, said.space)


class _Blind(Logistic):
    """Answers nothing where a value is missing."""

    def score(self, X: Any) -> Any:
        return super().score(X) + X.sum(axis=1) * 0


class _Ignorant(Logistic):
    """Knows the base rate only."""

    def score(self, X: Any) -> Any:
        return np.zeros(len(X))


class _Prejudiced(Logistic):
    """Knows the answer before it has learned anything."""

    def score(self, X: Any) -> Any:
        return 1.6 * (np.log1p(X[:, 0]) - 4.0)


class _Weightless(Logistic):
    """Forgets the weights."""

    def fit(self, X: Any, y: Any, *, weight: Any = None, seed: int = 0) -> None:
        super().fit(X, y, weight=None, seed=seed)


class _Positional(Logistic):
    """Sorts the columns, and so scores those of another order wrongly."""

    def fit(self, X: Any, y: Any, *, weight: Any = None, seed: int = 0) -> None:
        super().fit(X, y, weight=weight, seed=seed)
        self.columns = tuple(sorted(self.columns))


class _Trusting(Logistic):
    """Takes infinite values as they come."""

    def fit(self, X: Any, y: Any, *, weight: Any = None, seed: int = 0) -> None:
        super().fit(X.replace(np.inf, np.nan), y, weight=weight, seed=seed)


class _LooseConfig(BaseModel):
    """Neither strict nor frozen."""

    C: float = 0.1
    knots: int = 33


class _Loose(Logistic):
    """Accepts any key."""

    config: _LooseConfig  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("check", "cls"),
    [
        ("save_and_load", _Forgetful),
        ("no_pickle", _Pickler),
        ("no_pickle", _ObjectPickler),
        ("same_seed", _Moody),
        ("keeps_no_data", _Hoarder),
        ("keeps_no_data", _Secretive),
        ("single_rows", _Sociable),
        ("explanation_adds_up", _Boaster),
        ("explanation_adds_up", _Splitter),
        ("explanation_adds_up", _Wandering),
        ("credits_the_right_columns", _Misattributing),
        ("credits_the_right_columns", _Wandering),
        ("right_on_average", _Offset),
        ("missing_values", _Blind),
        ("beats_chance", _Ignorant),
        ("shuffled_labels", _Prejudiced),
        ("weights_count", _Weightless),
        ("columns_by_name", _Positional),
        ("columns_by_name", _Trusting),
        ("config_round_trip", _Loose),
        ("unknown_key", _Loose),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_contract_catches(check: str, cls: type) -> None:
    """A model that breaks one promise fails the check of that promise."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        contract.CHECKS[check](cls)


def test_matrix_takes_whole_numbers_and_missing_ones() -> None:
    """Nullable and whole-number columns arrive as float64 with NaN for what is missing."""
    frame = contract.unseen()[0].head(3).assign(rfm__frequency_orders=[1, 2, 3])
    frame["cadence__gap_mean_days"] = frame["cadence__gap_mean_days"].astype("Float64")
    frame.loc[0, "cadence__gap_mean_days"] = None
    values = matrix(frame, list(frame.columns))
    assert values.dtype == np.float64
    assert values[:, 1].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(values[0, 2])
