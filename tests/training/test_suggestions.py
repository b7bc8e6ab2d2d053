"""Suggested actions: the first that fits, and no silence about a column that is not there."""

import logging

import pandas as pd
import pytest

from features.errors import ConfigError
from training.suggestions import Suggestion, suggested

ANSWERS = pd.DataFrame({
    "score": [0.9, 0.8, 0.4, 0.1],
    "tier": ["high", "high", "medium", "low"],
    "reason": ["service", "price", "service", "service"],
})  # fmt: skip
CALL = Suggestion(do="call", when={"tier": "high", "reason": "service"})
OFFER = Suggestion(do="offer", when={"tier": "high"})


def test_the_first_that_fits() -> None:
    """All its words hold; without one for everyone the rest gets none."""
    assert [*suggested(ANSWERS, (CALL, OFFER))] == ["call", "offer", "none", "none"]
    assert [*suggested(ANSWERS, (OFFER, CALL))] == ["offer", "offer", "none", "none"]
    every = Suggestion(do="newsletter")
    assert [*suggested(ANSWERS, (CALL, every))] == ["call", *["newsletter"] * 3]


def test_what_cannot_fit_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown column is an error; a word that nobody has is a warning."""
    with pytest.raises(ConfigError, match=r"look at \['stage'\]; .* score, tier, reason"):
        suggested(ANSWERS, (CALL, Suggestion(do="call", when={"stage": "gone"})))
    with caplog.at_level(logging.WARNING, "perennial"):
        suggested(ANSWERS, (CALL, Suggestion(do="wait", when={"tier": "hihg"})))
    assert [record.args for record in caplog.records] == [("wait", {"tier": "hihg"})]
