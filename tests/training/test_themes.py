"""Reasons by theme: sums that add up, and every column under one word."""

import numpy as np
import pandas as pd
import pytest

from features.catalogue import every_set
from features.schema import FeatureColumn
from features.themes import OF_SET, theme_of, themes
from tests.training.samples import bundle, declared
from training.contract import Explanation
from training.supervised.theme_report import groups, table
from training.supervised.themes import NONE, sums


def test_every_set_has_a_theme() -> None:
    """A new feature set is given a word, so that its reasons are not told by its file's name."""
    prefixes = {k.name.partition("__")[0] for s in every_set()[0].values() for k in s.columns()}
    assert prefixes <= set(OF_SET)


@pytest.mark.parametrize(
    ("name", "theme"),
    [
        ("rfm__recency_days", "purchases"),
        ("assortment__unit_price_90d", "price"),
        ("orders__discount_share_365d", "price"),
        ("orders__season_spend", "season"),
        ("orders__returns_365d", "service"),
        ("support__tickets_90d", "service"),
        ("subscription__failed_payments_30d", "payment"),
        ("weekdays__used_days", "weekdays"),
    ],
)
def test_themes_of_columns(name: str, theme: str) -> None:
    """By set, by rule, and by the name of a set that nobody has given a word."""
    column = FeatureColumn(name=name, unit="days", meaning="", missing="never")
    assert theme_of(column) == theme
    assert theme_of(column.model_copy(update={"theme": "own"})) == "own"


def test_sums_add_up_to_the_score() -> None:
    """Each column counts once, so base and themes are the score."""
    made, X = bundle("logistic.Logistic")
    explained = made.explain(X)
    names, moved = sums(made.answer.columns, explained.contributions)
    assert np.allclose(explained.base + moved.sum(axis=1), explained.scores, atol=1e-12)
    assert sorted(j for places in themes(made.answer.columns).values() for j in places) == list(
        range(X.shape[1])
    )
    told = table(made.answer.columns, explained)
    assert set(told["theme"]) == set(names)
    assert told["share"].sum() == pytest.approx(1.0)
    assert told["columns"].sum() == X.shape[1]


def test_groups_by_hand() -> None:
    """Who is named is counted once, under the theme that raises the score most, with his worth."""
    columns = declared(("rfm__recency_days", "support__tickets_90d", "orders__spend_365d"))
    explained = Explanation(
        np.zeros(5),
        np.array([[2, 1, 0], [0, 3, 0], [1, 0, 1], [-1, -2, 0], [9, 9, 9]], float),
        np.array([[0, 0, 10], [0, 0, 30], [0, 0, np.nan], [0, 0, 5], [0, 0, 7]], float),
        tuple(k.name for k in columns),
        "log-odds",
    )
    found = groups(columns, explained, np.array([0.9, 0.8, 0.7, 0.6, 0.1]), 0.5)
    told = found.set_index("theme")
    assert told["customers"].to_dict() == {"purchases": 2, "service": 1, NONE: 1}
    assert told.loc["purchases", "total_spend_365d"] == 10.0
    assert told.loc["service", "mean_spend_365d"] == 30.0
    assert told.loc["service", "mean_answer"] == 0.8
    assert told["share"].sum() == pytest.approx(1.0)
    nobody = groups(columns, explained, np.zeros(5), 0.5)
    assert isinstance(nobody, pd.DataFrame)
    assert nobody.empty
