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
"""Said where no action fits."""


class Action(Strict):
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


def suggested(answers: pd.DataFrame, actions: Sequence[Action]) -> pd.Series:
    """For each row the first action that fits, or ``none``; one that fits nobody is told.

    Raises
    ------
    ConfigError
        If an action looks at a column that the answers do not have.
    """
    unknown = sorted({name for action in actions for name in action.when} - {*answers.columns})
    if unknown:
        raise ConfigError(
            f"actions look at {unknown}, which answers do not have: {', '.join(answers.columns)}"
        )
    found = pd.Series(NONE, index=answers.index)
    for action in reversed(actions):
        fits = np.ones(len(answers), dtype=bool)
        for name, word in action.when.items():
            fits &= answers[name].astype(str).to_numpy() == word
        if not fits.any():
            log.warning("the action %r fits nobody: %s", action.do, action.when)
        found = found.mask(fits, action.do)
    return found
