"""Groups of an audience: by brute force over random lists, none is ever small."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.groups import OTHER, coarse, merged


@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=5, max_size=60))
def test_no_group_is_small_and_no_more_is_merged_than_needed(words: list[str | None]) -> None:
    """Every word left is shared by five; a word that was shared by five went for OTHER's sake."""
    before = pd.Series(words, dtype=object)
    after = merged(before, 5)
    counts = after.value_counts()
    assert counts.min() >= 5
    assert len(after) == len(before)
    kept = after != OTHER
    assert (after[kept] == before[kept]).all()
    gone = before[~kept].dropna().value_counts()
    rare = before.isna().sum() + gone[gone < 5].sum()
    big = gone[gone >= 5]
    assert len(big) <= 1
    assert big.empty or 0 < rare < 5


def test_every_column_of_words_is_merged_alike() -> None:
    """A letter and its name stay together; numbers are as they were; few rows are no list."""
    answers = pd.DataFrame({
        "p": [0.1] * 9, "id": list("BBBAACCCC"), "name": ["two"] * 3 + ["one"] * 2 + ["three"] * 4,
    })  # fmt: skip
    told = coarse(answers, 3)
    assert told["p"].equals(answers["p"])
    assert told["id"].tolist() == [OTHER] * 5 + ["C"] * 4
    assert told["name"].tolist() == [OTHER] * 5 + ["three"] * 4
    with pytest.raises(ValueError, match="9 rows"):
        coarse(answers, 10)
