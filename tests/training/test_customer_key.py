"""The customer key hides who customers are and decides nothing: models are the same under any."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training.finished import planned, settled
from training.rows import shuffled
from training.runs import learn, stages


def answers(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the test block was told and what it was told from, under a key made in ``folder``."""
    with pytest.MonkeyPatch.context() as patched:
        plan = planned(place := settled(folder, patched))
        made = learn(place, plan, stages(plan)).published.folder
    return pd.read_parquet(made / "test.parquet"), pd.read_parquet(made / "test_rows.parquet")


def test_models_are_the_same_under_another_customer_key(tmp_path: Path) -> None:
    """The same files, two keys: rows in one order, and answers equal to the last bit."""
    (one, its_rows), (two, their_rows) = (answers(tmp_path / name) for name in ("one", "two"))
    assert not set(one["customer_id"]) & set(two["customer_id"]), "the keys are one"
    assert one["candidate"].nunique() > 100
    pd.testing.assert_frame_equal(its_rows, their_rows, check_exact=True)
    pd.testing.assert_frame_equal(
        one.drop(columns="customer_id"), two.drop(columns="customer_id"), check_exact=True
    )


def test_the_order_of_rows_is_not_that_of_the_file() -> None:
    """Places come out as if drawn: all different, and the first half of a file in both halves."""
    places = np.arange(10_000)
    found = shuffled(places)
    assert len(np.unique(found)) == len(places)
    assert abs(np.corrcoef(np.argsort(np.argsort(found)), places)[0, 1]) < 0.03
