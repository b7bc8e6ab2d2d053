"""What ``/explain`` says: numbers that take a thread of their own, and the words for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from training.categories import words
from training.contract import Explanation, Floats, reasons
from training.details import column_sentences, factor_sentence
from training.sentences import Language
from training.supervised import levers, themes
from training.supervised.bundle import Bundle

TOP_REASONS = 3


@dataclass(frozen=True)
class Rows:
    """The rows of one request, with their answers."""

    X: Floats
    answers: Floats
    scores: Floats
    language: Language


@dataclass(frozen=True)
class Computed:
    """The numbers of explained rows."""

    rows: Rows
    found: Explanation
    themes: tuple[list[str], Floats]
    made: list[dict[str, Any]]
    """For each row what makes its value; empty where values are not made of factors."""
    could: list[list[str]]
    """For each row what would change its answer, in words; empty without levers."""


class Explainer:
    """Explains rows by one bundle.

    The kernel gives the interpreter up, words do not. So the first part is for a thread, and the
    second for the event loop, a few rows at a time: two threads that both want the interpreter
    would wait for each other at every turn.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def computed(self, requests: Sequence[Rows]) -> list[Computed]:
        """The numbers that explain each request.

        The kernel takes them together: the tables of the trees are read once for all rows, which
        costs a row a quarter of what it costs alone.
        """
        every = self.bundle.explain(np.concatenate([rows.X for rows in requests]))
        ends = np.cumsum([len(rows.X) for rows in requests]).tolist()
        return [
            self._computed(rows, every[end - len(rows.X) : end])
            for rows, end in zip(requests, ends, strict=True)
        ]

    def _computed(self, rows: Rows, found: Explanation) -> Computed:
        bundle, answer = self.bundle, self.bundle.answer
        moved = themes.sums(answer.columns, found.contributions)
        could: list[list[str]] = []
        if answer.levers:
            could = levers.sentences(bundle, rows.X, TOP_REASONS, rows.language)
        return Computed(rows, found, moved, self._made(rows), could)

    def said(self, computed: Computed) -> Iterator[dict[str, Any]]:
        """Each row as it appears in a reply; words are found when it is taken."""
        answer, names, rows = self.bundle.answer, self.bundle.columns, computed.rows
        found, (of_themes, by_theme) = computed.found, computed.themes
        # reasons() sorts by size and leaves out what moves nothing: that comes last here too.
        orders = np.argsort(-np.abs(found.contributions), axis=1, kind="stable")
        texts = reasons(answer.columns, answer.currency, found, len(names), rows.language)
        shown = found.values.tolist()
        for j, column in enumerate(answer.columns):
            said = words(column, found.values[:, j]) if column.dtype == "string" else ()
            for row, word in zip(shown, said, strict=False):
                row[j] = word
        numbers = (rows.answers, rows.scores, found.base, found.scores, by_theme)
        each = zip(
            *(column.tolist() for column in (*numbers, found.contributions, orders)),
            *(shown, texts), strict=True,
        )  # fmt: skip
        for i, (value, score, base, total, themed, moved, order, values, why) in enumerate(each):
            yield {
                answer.output: value,
                "score": score,
                "base": base,
                "sum_check": abs(total - score),
                **({"value": computed.made[i]} if computed.made else {}),
                "reasons": why[:TOP_REASONS],
                **({"levers": computed.could[i]} if computed.could else {}),
                "themes": dict(zip(of_themes, themed, strict=True)),
                "contributions": [
                    {
                        "feature": names[j],
                        "value": values[j],  # NaN, a missing value, is written as null
                        "contribution": moved[j],
                        "text": text,
                    }
                    for j, text in zip_longest(order, why)
                ],
            }

    def _made(self, of: Rows) -> list[dict[str, Any]]:
        """For each row what makes its value, in a sentence for each factor; largest first."""
        X, language = of.X, of.language
        made = self.bundle.factors(X, of.answers, of.scores)
        if made is None:
            return []
        columns, unit = self.bundle.answer.columns, self.bundle.answer.currency
        rows = []
        by_theme = {f.name: themes.sums(columns, f.by_column) for f in made.factors}
        for i in range(len(X)):
            moved = sorted(made.factors, key=lambda f: -abs(float(f.contribution[i])))  # noqa: B023
            rows.append({
                "of": made.name,
                "usual": made.usual,
                "factors": [
                    {
                        "factor": f.name,
                        "value": float(f.value[i]),
                        "usual": f.usual,
                        "contribution": float(f.contribution[i]),
                        "text": factor_sentence(f, i, unit, language),
                        "themes": dict(
                            zip(by_theme[f.name][0], by_theme[f.name][1][i].tolist(), strict=True)
                        ),
                        "common": float(f.common[i]),
                        "reasons": column_sentences(
                            f, i, columns, X[i], unit, TOP_REASONS, language
                        ),
                    }
                    for f in moved
                ],
            })  # fmt: skip
        return rows
