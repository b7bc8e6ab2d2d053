"""Words at the boundary of learning: a category column becomes codes, in one column, and back.

In feature tables, requests and replies a category is its word. A model sees a code; which word has
which code is learned once from teaching rows and travels in the bundle beside the column.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from features.schema import FeatureColumn
from training.contract import Floats

LEAST = 20
"""Teaching rows that a word needs for a code of its own; rarer ones count together."""
MOST = 64
"""Codes of a column; the words beyond them count together too."""
OTHER = "other"


def learned(columns: Sequence[FeatureColumn], taught: pd.DataFrame) -> tuple[FeatureColumn, ...]:
    """The columns, those of words with their levels: the commonest first, equal ones by name.

    Labels play no part in it.
    """
    return tuple(
        _with_levels(column, taught[column.name])
        if column.dtype == "string" and column.name in taught else column
        for column in columns
    )  # fmt: skip


def _with_levels(column: FeatureColumn, words: pd.Series) -> FeatureColumn:
    counts = words.dropna().astype(str).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    own = [str(w) for w, n in ordered if n >= LEAST and w != OTHER][:MOST]
    rare = sorted({str(w) for w, _ in ordered} - set(own))
    levels = (*own, OTHER) if rare else tuple(own)
    return column.model_copy(
        update={"levels": levels, "rare": tuple(w for w in rare if w != OTHER)}
    )


def codes(column: FeatureColumn) -> Mapping[str, int]:
    """Word -> code; rare words have that of ``other``, unknown ones none."""
    known = {word: code for code, word in enumerate(column.levels)}
    return known | {word: known[OTHER] for word in column.rare}


def encoded(X: pd.DataFrame, columns: Sequence[FeatureColumn]) -> pd.DataFrame:
    """``X`` with its words as pandas categories in the order of their codes; unknown = missing."""
    changed = {}
    for column in columns:
        if column.dtype == "string" and column.name in X:
            found = X[column.name].astype(object).map(codes(column)).fillna(-1).astype(int)
            changed[column.name] = pd.Categorical.from_codes(
                found.to_numpy(), categories=list(column.levels)
            )
    return X.assign(**changed) if changed else X


def words(column: FeatureColumn, values: Floats) -> list[str | None]:
    """Codes as their words; NaN as None."""
    return [None if v != v else column.levels[int(v)] for v in values.tolist()]


def rows(columns: Sequence[FeatureColumn], X: Floats) -> list[dict[str, float | str | None]]:
    """Rows as a request names them: column -> number or word, None where it is missing."""
    return [
        {column.name: said for column, said in zip(columns, row, strict=True)}
        for row in _shown(columns, X)
    ]


def frame(columns: Sequence[FeatureColumn], X: Floats) -> pd.DataFrame:
    """The rows as a frame with the columns by name, words as words."""
    made = pd.DataFrame(X, columns=[column.name for column in columns])
    said = {
        column.name: pd.Series(words(column, X[:, i]), dtype=object)
        for i, column in enumerate(columns)
        if column.dtype == "string"
    }
    return made.assign(**said) if said else made


def _shown(columns: Sequence[FeatureColumn], X: Floats) -> Iterator[tuple[float | str | None, ...]]:
    shown = [
        words(column, values)
        if column.dtype == "string" else [None if v != v else v for v in values.tolist()]
        for column, values in zip(columns, np.transpose(X), strict=True)
    ]  # fmt: skip
    return zip(*shown, strict=True)
