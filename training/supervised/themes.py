"""Reasons by theme: contributions summed over the columns that are about the same thing."""

from collections.abc import Sequence

import numpy as np

from features.schema import FeatureColumn
from features.themes import themes
from training.contract import Floats

NONE = "none raises it"


def sums(columns: Sequence[FeatureColumn], contributions: Floats) -> tuple[list[str], Floats]:
    """Themes, and what each moves the score by, shape (n_rows, n_themes).

    Every column has one theme, so the sums add up to the score as contributions do.
    """
    places = themes(columns)
    parts = [contributions[:, places[name]].sum(axis=1) for name in places]
    return list(places), np.stack(parts, axis=1)


def largest(columns: Sequence[FeatureColumn], contributions: Floats) -> list[str]:
    """For each row the theme that raises its score most."""
    names, moved = sums(columns, contributions)
    best = np.array([*names, NONE])[moved.argmax(axis=1)]
    found: list[str] = np.where(moved.max(axis=1) > 0, best, NONE).tolist()
    return found
