"""The set ``feedback``."""

from typing import Any

import pytest

from features import columns as c
from tests.channel_worlds import random_channels, row, world_of
from tests.features.sets.oracle import Past, ago, agree, least, mean, of_one


def slowly(past: Past, customer: int, config: Any) -> dict[str, Any]:
    """The set in plain Python."""
    values: dict[str, Any] = {}
    for kind, threshold in config.low.items():
        given = [a for a in past.of(customer, "feedback", kind=kind) if a["score"] is not None]
        scores = [answer["score"] for answer in given]
        for days in config.windows_days:
            values[f"{kind}_count_{days}d"] = sum(answer["age"] <= days for answer in given)
        values |= {
            f"{kind}_mean_points": mean(scores),
            f"{kind}_last_points": scores[-1] if scores else None,
            f"{kind}_trend_points": scores[-1] - sum(scores) / len(scores) if scores else None,
            f"{kind}_low_share": mean(score <= threshold for score in scores),
            f"{kind}_last_days": least(answer["age"] for answer in given),
        }
    return values


@pytest.mark.parametrize(("seed", "windows"), [(1, (90, 365)), (2, (300,))])
def test_the_slow_way_agrees(seed: int, windows: tuple[int, ...]) -> None:
    """Plain Python over the rows of each customer gives every value of a random world."""
    agree("feedback.Feedback", random_channels(seed), slowly, windows_days=windows)


def answer(kind: str, days: float, score: float | None, **more: Any) -> dict[str, Any]:
    """A score given so many days before the cutoff."""
    return row("feedback", when=ago(days), **{c.KIND: kind, "score": score, **more})


def test_worked_by_hand() -> None:
    """Three reviews, one survey without a score, one answer of a promoter."""
    feedback = [
        answer("review", 400, 5.0), answer("review", 100, 2.0), answer("review", 50, 4.25),
        answer("csat", 3, None), answer("nps", 7, 9.0),
    ]  # fmt: skip
    found = of_one("feedback.Feedback", world_of(feedback=feedback))
    expected = {
        "review_count_90d": 1, "review_count_365d": 2, "review_mean_points": 3.75,
        "review_last_points": 4.25, "review_trend_points": 0.5, "review_low_share": 1 / 3,
        "review_last_days": 50, "csat_count_90d": 0, "nps_count_90d": 1, "nps_mean_points": 9,
        "nps_last_points": 9, "nps_trend_points": 0, "nps_low_share": 0, "nps_last_days": 7,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert {found[f"csat_{what}"] for what in ("mean_points", "last_points", "last_days")} == {None}


def test_last_of_one_moment() -> None:
    """Of two scores of one moment the one learned last counts, else the later row."""
    early = answer("csat", 5, 1.0, known_time=ago(2))
    late = answer("csat", 5, 3.0, known_time=ago(3))
    for rows, last in (
        ([early, late], 1.0),
        ([late, early], 1.0),
        ([late, answer("csat", 5, 4.0, known_time=ago(3))], 4.0),
    ):
        assert of_one("feedback.Feedback", world_of(feedback=rows))["csat_last_points"] == last


def test_mean_is_of_hundredths() -> None:
    """Scores with more digits count to the hundredth."""
    rows = [answer("csat", days, score) for days, score in ((1, 1.006), (2, 2.0))]
    found = of_one("feedback.Feedback", world_of(feedback=rows))
    assert found["csat_mean_points"] == 1.505
