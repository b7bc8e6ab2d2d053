"""What decides each step of a session: against plain loops, and a reason that was planted."""

import numpy as np
import pandas as pd
import pytest

from features import columns as c
from features.views import AGE
from training.lifecycle.config import ActionsConfig
from training.lifecycle.conversion import (
    APART,
    DAY,
    HOUR,
    MINUTES,
    PURCHASES,
    SESSIONS,
    SO_FAR,
    asked_at,
    columns_of,
    described,
    explained,
)
from training.lifecycle.figures import STEPS


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    """Sessions in which a view leads to the cart after a search on the web, and seldom else."""
    rng, rows = np.random.default_rng(5), []
    for customer in range(300):
        for n, start in enumerate(sorted(rng.uniform(1, 100, 4), reverse=True)):
            channel, searched = rng.choice(["web", "app"]), rng.random() < 0.5
            likely = 0.85 if searched and channel == "web" else 0.1
            kinds = [
                "visit",
                *["search"] * searched,
                "view",
                *["cart_add"] * (rng.random() < likely),
            ]
            kinds += ["purchase"] * (rng.random() < 0.02)
            kinds = ["cart_add", *kinds] if rng.random() < 0.05 else kinds
            pause = np.append(0.0, rng.exponential(1e-3, len(kinds))).cumsum()
            rows += [
                {c.CUSTOMER: customer, c.KIND: kind, "session_id": f"{customer}-{n}",
                 c.CHANNEL: channel, "device": None, AGE: start - pause[k], c.ROW: len(rows) + k,
                 HOUR: rng.uniform(0, 24), DAY: 1.0 + n}
                for k, kind in enumerate(kinds)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_step_is_asked_by_what_was_known_when_it_was_shown(events: pd.DataFrame) -> None:
    """Everything by a loop over events; what follows changes nothing but whether it converts."""
    some = events[events[c.CUSTOMER] < 40].reset_index(drop=True)
    found = asked_at(described(some), "view").set_index("session_id")
    assert 0 < len(found) < some["session_id"].nunique()
    for _, own in some.groupby(c.CUSTOMER):
        seen: list[dict[str, object]] = []
        for row in own.to_dict("records"):
            now = row["session_id"]
            inside = [e for e in seen if e["session_id"] == now]
            beyond = any(e[c.KIND] in STEPS[2:] for e in inside)
            assert not (beyond and now in found.index and row[c.KIND] == "view")
            if row[c.KIND] == "view" and not beyond:
                told = found.loc[now]
                before = [e for e in seen if e["session_id"] != now]
                starts = list(dict.fromkeys(e["session_id"] for e in before))
                assert told[SESSIONS] == len(starts)
                assert told[PURCHASES] == sum(e[c.KIND] == "purchase" for e in seen)
                assert told["search" + SO_FAR] == sum(e[c.KIND] == "search" for e in inside)
                assert told[MINUTES] == pytest.approx((inside[0][AGE] - row[AGE]) * 1_440)
                last = next((e[AGE] for e in before if e["session_id"] == starts[-1]), None)
                assert (np.isnan(told[APART]) if last is None
                        else told[APART] == pytest.approx(last - inside[0][AGE]))  # fmt: skip
                after = own[(own["session_id"] == now) & (own[AGE] < row[AGE])][c.KIND]
                assert told["converted"] == after.isin(STEPS[2:]).any()
            seen.append(row)


def test_the_planted_reason_decides_and_shapley_values_are_of_later_sessions(
    events: pd.DataFrame,
) -> None:
    """Search and channel lead, told better than by the channel; a step that few take is left."""
    found = described(events)
    asked = asked_at(found, "view")
    line, reasons = explained(asked, ActionsConfig(), 20, 7) or pytest.fail("enough customers")
    assert line["roc_auc"] > 0.8 > line["roc_auc_by_channel"]
    assert line["conversion"] == pytest.approx(asked["converted"].mean())
    top = reasons.set_index("column")
    assert set(reasons["column"][:2]) == {"search" + SO_FAR, c.CHANNEL}
    assert (top.loc["search" + SO_FAR, "likelier"], top.loc[c.CHANNEL, "likelier"]) == (
        "more",
        "web",
    )
    assert reasons["share"].sum() == pytest.approx(1.0)
    assert "device" not in columns_of(asked)
    assert explained(asked_at(found, "cart_add"), ActionsConfig(), 20, 7) is None
