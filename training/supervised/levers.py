"""What would move an answer the wanted way, of what a business can move: associations, no causes.

For each column that the YAML names, the value that moves the answer furthest the wanted way is
looked for among those that customers have, all other columns staying as they are. What the model
answers to such a row is no promise that moving the column would move the customer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from features.errors import ConfigError
from features.schema import FeatureColumn
from features.settings import Strict
from training.contract import Floats
from training.report import Section
from training.sentences import stater

if TYPE_CHECKING:
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
        cls, config: LeversConfig, columns: Sequence[FeatureColumn], X: pd.DataFrame
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


def sentences(
    bundle: "Bundle", found: Mapping[str, Moves], X: Floats, i: int, top: int
) -> list[str]:
    """The ``top`` moves of row ``i`` that change its answer most, each as a sentence."""
    now = float(bundle.predict(X[i : i + 1])[0][0])
    columns = {column.name: column for column in bundle.answer.columns}
    order = sorted(found, key=lambda name: -abs(float(found[name].answers[i]) - now))
    said = []
    for name in order[:top]:
        then, column = float(found[name].answers[i]), columns[name]
        if then == now:
            continue
        currency, value = bundle.answer.currency, float(X[i, bundle.columns.index(name)])
        was = stater(column, currency, "en")(value)
        to = stater(column, currency, "en", means=False)(float(found[name].to[i]))
        said.append(f"{was}; with {to}, {then:.3f} would be answered instead of {now:.3f}")
    return said


def table(bundle: "Bundle", levers: Levers, X: Floats) -> pd.DataFrame:
    """By column: of rows ``X``, for how many a value is better, and by how much on average."""
    now, _ = bundle.predict(X)
    lines = []
    for name, moved in moves(bundle, levers, X).items():
        change = moved.answers - now
        helped = change != 0
        lines.append({
            "column": name, "rows": len(X), "share_with_a_better_value": float(helped.mean()),
            "mean_change_of_those": float(change[helped].mean()) if helped.any() else 0.0,
            "largest_change": float(change[np.abs(change).argmax()]),
        })  # fmt: skip
    return pd.DataFrame(lines).sort_values("mean_change_of_those", key=abs, ascending=False)


def section(found: pd.DataFrame, wanted: str) -> Section:
    """The section of the card."""
    text = (
        f"What the answer would be with another value of one column, the one that is answered "
        f"{wanted} by most, all else as it is. It shows what the model goes by; whether moving "
        "it would move customers, an experiment has to tell."
    )
    return Section("What a business can move: an association, no cause", [text], found.round(4))
