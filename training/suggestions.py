"""Suggested actions: what a business wants done, by the words of an answer."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from features.errors import ConfigError
from features.settings import Strict

log = logging.getLogger("perennial")

COLUMN = "action"
NONE = "none"
"""Said where none fits."""


class Suggestion(Strict):
    """What to do about customers whose answer has certain words."""

    do: str = Field(min_length=1, max_length=200)
    """The action, such as ``personal offer``."""
    when: dict[str, str] = {}
    """Columns of an audience and the word that each has to hold, such as ``tier: high``; the
    column ``reason`` holds the theme that raises the answer most. Empty = everyone."""

    @property
    def said(self) -> str:
        """Such as ``personal offer (tier high)``."""
        words = ", ".join(f"{name} {word}" for name, word in self.when.items())
        return f"{self.do} ({words or 'everyone'})"


def suggested(answers: pd.DataFrame, suggestions: Sequence[Suggestion]) -> pd.Series:
    """For each row the action of the first that fits, or ``none``; one that fits nobody is told.

    Raises
    ------
    ConfigError
        If a suggestion looks at a column that the answers do not have.
    """
    unknown = sorted({name for one in suggestions for name in one.when} - {*answers.columns})
    if unknown:
        raise ConfigError(
            f"suggestions look at {unknown}; the columns are {', '.join(answers.columns)}"
        )
    found = pd.Series(NONE, index=answers.index)
    for one in reversed(suggestions):
        fits = np.ones(len(answers), dtype=bool)
        for name, word in one.when.items():
            fits &= answers[name].astype(str).to_numpy() == word
        if not fits.any():
            log.warning("the suggestion %r fits nobody: %s", one.do, one.when)
        found = found.mask(fits, one.do)
    return found
