"""Reasons that customers state: counted by hand, as they were known at the cutoff."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import columns as c
from features.tables import Tables
from tests.training.test_questions import table
from tests.worlds import BEGAN, DAY, line, tables, world
from training.report import check_complete
from training.rows import Rows
from training.supervised import stated

TEST = BEGAN + 500 * DAY


def wrote(customer: int, day: int, topic: str | None, **more: Any) -> dict[str, Any]:
    """A row of feedback."""
    return {c.CUSTOMER: customer, "day": day, c.KIND: "ticket", "topic": topic, **more}


FEEDBACK = table(
    "feedback",
    *[wrote(k, 400, "delivery") for k in range(12)],
    *[wrote(k, 410, "delivery") for k in range(12)],  # a second time: still one customer
    *[wrote(k, 450, "product") for k in range(6, 26)],
    *[wrote(k, 450, None) for k in range(40)],
    *[wrote(k, 100, "account") for k in range(40)],  # more than a year before
    *[wrote(k, 510, "return") for k in range(40)],  # not yet known
    *[wrote(k, 450, "rare") for k in range(9)],
)


class Stored:
    """Stored tables of a small world."""

    def __init__(self, **more: Any) -> None:
        lines = world([line(k, BEGAN + 5 * DAY, f"{k}") for k in range(40)])
        self.brought = {"order_lines": lines, **more}

    def open(self) -> Tables:
        """Connect to the tables."""
        return tables(self.brought)


def asked() -> tuple[Rows, np.ndarray]:
    """Forty customers; the first ten are named, every other one has the event."""
    y = np.arange(40) % 2 * 1.0
    at = np.full(40, np.datetime64(TEST, "us"))
    rows = Rows(pd.DataFrame({"x": y}), y, np.arange(40, dtype=np.int64), at)
    return rows, np.arange(40) < 10


def test_topics_are_counted_by_customers() -> None:
    """Of the last year, as known then; a topic of a few customers is not told."""
    found = stated.stated(Stored(feedback=FEEDBACK), TEST, *asked())  # type: ignore[arg-type]
    assert found is not None
    lines = found.set_index("topic")
    assert list(lines.index) == ["product", "delivery"]
    assert lines.loc["delivery"].to_list() == pytest.approx([12, 10 / 10, 2 / 30, 0.5])
    assert lines.loc["product"].to_list() == pytest.approx([20, 4 / 10, 16 / 30, 0.5])
    check_complete([stated.section(found)])


def test_without_feedback_nothing_is_said() -> None:
    """None rather than an empty table, which a card would refuse."""
    assert stated.stated(Stored(), TEST, *asked()) is None  # type: ignore[arg-type]
    silent = table("feedback", wrote(1, 400, None))
    assert stated.stated(Stored(feedback=silent), TEST, *asked()) is None  # type: ignore[arg-type]
