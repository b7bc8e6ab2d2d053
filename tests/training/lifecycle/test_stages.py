"""Stages by rules against a plain loop, by hand, and what is told of them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from features.settings import load_yaml
from tests.worlds import CONFIGS
from training.lifecycle import journeys
from training.lifecycle.stages import LONG, Condition, Rules, Stage, shown, time_in

SHIPPED = tuple(Stage(**said) for said in load_yaml(CONFIGS / "lifecycle.yaml")["stages"])
NAMES = ("orders", "visits", "carts", "praise")
N = float("nan")


def slowly(rules: Rules, counts: np.ndarray) -> list[int]:
    """The path of one customer, period by period, from the definition."""
    known = ~np.isnan(counts).all(axis=1)
    begin = int(np.argmax(known)) if known.any() else len(counts) - 1
    path, before = [], -1

    def holds(demands: Any, t: int) -> bool:
        for k in demands:
            periods = [p for p in range(t - k.before - k.last + 1, t - k.before + 1) if p >= 0]
            if k.of == "known":
                value = sum(LONG if known[0] else 1.0 for p in periods if p >= begin)
            else:
                value = float(np.nansum([counts[p, NAMES.index(k.of)] for p in periods]))
            if not (value >= k.at_least if k.at_least is not None else value < k.below):
                return False
        return True

    for t in range(len(counts)):
        for place, stage in enumerate(rules.stages):
            kept = before == place and stage.stay is not None and holds(stage.stay, t)
            if holds(stage.enter, t) or kept:
                now = place
                break
        before = now if t >= begin else -1
        hidden = known[0] and t < rules.memory - 1 and t < len(counts) - 1
        path.append(-1 if hidden else before)
    return path


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 20))
def test_paths_are_those_of_a_plain_loop(seed: int, periods: int) -> None:
    """Random customers, some of whom begin late or show nothing of an observable."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.choice([0.1, 0.6, 2.0], (12, 1, 4)), (12, periods, 4)).astype(float)
    for i, first in enumerate(rng.integers(0, periods + 1, 12)):
        counts[i, :first] = np.nan
    counts[rng.random(counts.shape) < 0.05] = np.nan
    rules = Rules(SHIPPED, NAMES)
    assert rules.paths(counts).tolist() == [slowly(rules, own) for own in counts]


def test_weaker_demands_keep_a_customer_in_a_stage() -> None:
    """Who entered by four orders stays with three; who comes from below is not let in by them."""
    demand = [Condition(of="orders", last=3, at_least=4)]
    stay = [Condition(of="orders", last=3, at_least=3)]
    stages = (
        Stage(name="loyalty", meaning="m", enter=tuple(demand), stay=tuple(stay)),
        Stage(name="rest", meaning="m"),
    )
    orders = np.array([[N, 3, 0, 0, 0], [N, 4, 0, 0, 0], [N, 2, 2, 1, 0], [N, 2, 1, 0, 1]])
    found = Rules(stages, ("orders",)).paths(orders[..., None])
    assert found[:, 1:].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert time_in(found).tolist() == [4, 1, 3, 4]


def test_stages_that_a_source_cannot_show_say_why() -> None:
    """Without events there is no interest and no consideration; the last stage stays."""
    kept, hidden = shown(SHIPPED, {"orders", "praise"})
    assert set(hidden) == {"consideration", "interest"}
    assert hidden["interest"] == "the source does not show visits"
    assert kept[-1].name == "awareness"


@pytest.mark.parametrize("bounds", [{}, {"at_least": 1, "below": 2}])
def test_a_condition_has_one_bound(bounds: dict[str, float]) -> None:
    """Neither none nor both."""
    with pytest.raises(ValidationError, match="at_least or below"):
        Condition(of="orders", **bounds)


def test_moves_stays_funnel_and_ways_by_hand() -> None:
    """Thirty customers go up, thirty drop out, three are too few to be told."""
    up, out, few = [-1, 0, 1, 1, 2], [-1, 0, 0, 1, 1], [-1, 0, 2, 2, 0]
    paths = np.array([up] * 30 + [out] * 30 + [few] * 3)
    often = np.tile([0, 1], (5, 20))
    assert set(journeys.moves(often, ("a", "b"))["moves"]) == {"under 20", "0"}
    assert set(journeys.stays(often, ("a", "b"))["stays"]) == {"under 20"}
    names = ("new", "buyer", "loyal")
    moves = journeys.moves(paths, names).set_index(["from", "to"])
    assert moves.loc[("new", "buyer"), "moves"] == "60"
    assert moves.loc[("new", "new"), "share"] == pytest.approx(30 / 93)
    assert moves.loc[("new", "loyal"), "moves"] == "under 20"
    assert np.isnan(moves.loc[("loyal", "new"), "share"])
    stays = journeys.stays(paths, names).set_index("stage")
    assert stays.loc["new", "customers"] == "under 20"
    assert (stays.loc["buyer", "stays"], stays.loc["buyer", "median_periods"]) == ("30", "2")
    funnel = journeys.funnel(paths, np.ones(63, bool), names, names).set_index("stage")
    assert funnel.loc["buyer", "reached"] == 63
    assert funnel.loc["loyal", "conversion"] == pytest.approx(33 / 63)
    assert funnel.loc["buyer", "dropped"] == pytest.approx(30 / 63)
    assert funnel.loc["loyal", "median_periods"] == 2
    ways = journeys.ways(paths, names, {"loyalty": ["loyal"]})
    assert ways["path"].tolist() == ["new > buyer > loyal"]
    assert ways["customers"].tolist() == [30]
    assert journeys.funnel(paths, np.arange(63) < 19, names, names).empty


def test_crossed_tells_no_small_cell() -> None:
    """Counts under 20 are told as that."""
    groups = pd.Series(["a"] * 30 + ["b"] * 19)
    table = journeys.crossed(groups, pd.Series(["x"] * 49)).set_index("group")
    assert table["x"].tolist() == ["30", "under 20"]
