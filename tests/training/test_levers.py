"""What would move an answer, by trying every value by hand."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import ConfigError
from tests.training import samples
from training.supervised.lever_report import section, table
from training.supervised.levers import Levers, LeversConfig, moves, sentences

MOVED = samples.COLUMNS[:2]


@pytest.mark.parametrize("wanted", ["lower", "higher"])
def test_the_best_value_is_found(wanted: str) -> None:
    """For each row and column none of the values tried answers better, nor the row's own."""
    bundle, X = samples.bundle(min_child_weight=5)
    config = LeversConfig(columns=MOVED, wanted=wanted)  # type: ignore[arg-type]
    levers = Levers.of(config, bundle.answer.columns, samples.customers(300, 1)[0])
    sign = 1 if wanted == "lower" else -1
    now, _ = bundle.predict(X)
    changed = 0
    for name, found in moves(bundle, levers, X).items():
        at = bundle.columns.index(name)
        best = sign * now
        for value in levers.tried[name]:
            moved = X.copy()
            moved[:, at] = value
            best = np.minimum(best, sign * bundle.predict(moved)[0])
        assert sign * found.answers == pytest.approx(best, abs=0)
        moved = X.copy()
        moved[:, at] = found.to
        assert bundle.predict(moved)[0] == pytest.approx(found.answers, abs=0)
        changed += int((found.answers != now).sum())
    assert changed > 0


def test_told_in_words_and_numbers() -> None:
    """A sentence says both values and both answers; the table counts rows that can be moved."""
    bundle, X = samples.bundle(min_child_weight=5)
    frame = samples.customers(300, 1)[0]
    levers = Levers.of(LeversConfig(columns=MOVED), bundle.answer.columns, frame)
    found = moves(bundle, levers, X)
    now = bundle.predict(X)[0]
    bundle = replace(bundle, answer=bundle.answer.model_copy(update={"levers": levers}))
    best = np.minimum.reduce([m.answers for m in found.values()])
    for i, said in enumerate(sentences(bundle, X, 1)):
        told = f"{best[i]:.3f} would be answered instead of {now[i]:.3f}"
        assert [line.endswith(told) for line in said] == [True] * int(best[i] < now[i])
    assert "则答案为" in sum(sentences(bundle, X, 1, "zh"), [])[0]
    told = table(bundle, levers, X).set_index("column")
    for name, moved in found.items():
        assert told.loc[name, "share_with_a_better_value"] == np.mean(moved.answers != now)
    assert told["mean_change_of_those"].max() <= 0
    assert "no cause" in section(told.reset_index(), "lower").title


def test_a_column_that_the_model_lacks_is_refused() -> None:
    """With those that it has."""
    config = LeversConfig(columns=("prices",))
    with pytest.raises(ConfigError, match=r"no column \['prices'\].*rfm__recency_days"):
        Levers.of(config, samples.declared(), samples.customers(20, 0)[0])
