"""Groups in a list that leaves the house: none so small that its customers could be told apart."""

import pandas as pd

OTHER = "other"


def merged(words: pd.Series, least: int) -> pd.Series:
    """The words, those that fewer than ``least`` customers share as ``other``.

    Where ``other`` itself would be too small, the next rarest words are among it, too. Equally
    frequent words go by their first row, so that columns that say the same (a letter, a name) stay
    alike. Missing is a word.

    Raises
    ------
    ValueError
        If there are fewer than ``least`` rows: no grouping helps.
    """
    if len(words) < least:
        raise ValueError(f"{len(words)} rows have no group of {least}")
    known = words.astype(object).where(words.notna(), OTHER)
    counts = known.value_counts(sort=False)  # by first row
    rare: list[object] = [OTHER] if OTHER in counts else []
    inside = int(counts.get(OTHER, 0))
    for word, count in counts.drop(rare).sort_values(kind="stable").items():
        if count >= least and (inside == 0 or inside >= least):
            break
        rare.append(word)
        inside += int(count)
    return known.where(~known.isin(rare), OTHER)


def coarse(answers: pd.DataFrame, least: int) -> pd.DataFrame:
    """Answers with every column of words merged, such as tiers, segments, stages and reasons."""
    told = [name for name in answers if not pd.api.types.is_numeric_dtype(answers[name])]
    return answers.assign(**{name: merged(answers[name], least) for name in told})
