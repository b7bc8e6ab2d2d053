"""What would move an answer the wanted way, of what a business can move: associations, no causes.

For each column that the YAML names, the value that moves the answer furthest the wanted way is
looked for among those that customers have, all other columns staying as they are. What the model
answers to such a row is no promise that moving the column would move the customer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from features.errors import ConfigError
from features.schema import FeatureColumn
from features.settings import Strict
from training.contract import Floats
from training.sentences import Language, say, stater

if TYPE_CHECKING:
    import pandas as pd

    from training.supervised.bundle import Bundle

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Values of a number that are tried: those of customers who teach."""


class LeversConfig(Strict):
    """What a business can move, and which way the answer should go."""

    columns: tuple[str, ...] = Field(min_length=1)
    """Feature columns."""
    wanted: Literal["lower", "higher"] = "lower"
    """Which answers are better."""


class Levers(Strict):
    """Values to try for each column; of words their codes."""

    wanted: Literal["lower", "higher"]
    tried: dict[str, tuple[float, ...]]

    @classmethod
    def of(
        cls, config: LeversConfig, columns: Sequence[FeatureColumn], X: "pd.DataFrame"
    ) -> "Levers":
        """Values that rows ``X`` of shape (n_rows, n_features) have, words as their codes.

        Raises
        ------
        ConfigError
            If a named column is not among those that the model learns from.
        """
        by_name = {column.name: column for column in columns if column.name in X}
        lacking = [name for name in config.columns if name not in by_name]
        if lacking:
            raise ConfigError(
                f"levers.columns: the model has no column {lacking}; a constant one and an audit "
                f"column are left out; it has {sorted(by_name)}"
            )
        tried = {}
        for name in config.columns:
            column = by_name[name]
            found = (
                np.arange(len(column.levels))
                if column.dtype == "string"
                else np.nanquantile(X[name].to_numpy(np.float64), QUANTILES)
            )
            tried[name] = tuple(float(value) for value in np.unique(found[~np.isnan(found)]))
        return cls(wanted=config.wanted, tried=tried)


@dataclass(frozen=True)
class Moves:
    """For one column, the value that moves each row's answer furthest the wanted way."""

    to: Floats
    """Shape (n_rows,); the row's own value where none is better."""
    answers: Floats
    """What is answered then, shape (n_rows,)."""


def moves(bundle: "Bundle", levers: Levers, X: Floats) -> Mapping[str, Moves]:
    """The best move of each column for rows ``X`` of shape (n_rows, n_features)."""
    now, _ = bundle.predict(X)
    sign = 1.0 if levers.wanted == "lower" else -1.0
    found = {}
    for name, values in levers.tried.items():
        at = bundle.columns.index(name)
        best, to = now.copy(), X[:, at].copy()
        for value in values:
            moved = X.copy()
            moved[:, at] = value
            answers, _ = bundle.predict(moved)
            better = sign * answers < sign * best
            best, to = np.where(better, answers, best), np.where(better, value, to)
        found[name] = Moves(to, best)
    return found


def sentences(bundle: "Bundle", X: Floats, top: int, language: Language = "en") -> list[list[str]]:
    """For each row the ``top`` moves that change its answer most, each as a sentence."""
    levers, currency = bundle.answer.levers, bundle.answer.currency
    assert levers is not None, "asked of answers with levers"
    now, _ = bundle.predict(X)
    found = moves(bundle, levers, X)
    by_name = {column.name: column for column in bundle.answer.columns}
    places = {name: bundle.columns.index(name) for name in found}
    said = []
    for i in range(len(X)):
        change = {name: abs(float(move.answers[i] - now[i])) for name, move in found.items()}
        said.append([
            say(
                "lever", language,
                was=stater(by_name[name], currency, language)(float(X[i, places[name]])),
                to=stater(by_name[name], currency, language, means=False)(float(found[name].to[i])),
                then=f"{found[name].answers[i]:.3f}", now=f"{now[i]:.3f}",
            )
            for name in sorted(change, key=lambda name: -change[name])[:top]  # noqa: B023
            if change[name] > 0
        ])  # fmt: skip
    return said
