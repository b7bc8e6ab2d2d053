"""Each way against another implementation; order of rows and bad input for all of them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans as Lloyd
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from features.errors import ConfigError, DataError
from features.schema import FeatureColumn
from features.settings import Part, resolve
from tests.training.segments.samples import ACTIVITY, SCHEMA, VALUE, customers
from training.categories import encoded
from training.segments.choose import WAYS
from training.segments.segmentation import Segmentation, learn
from training.segments.space import Space
from training.segments.ways.mixture import Mixture, MixtureConfig
from training.segments.ways.rules import Rules, RulesConfig

LIST = list(ACTIVITY)
PARTS = (
    Part(use="kmeans.KMeans", config={"columns": LIST, "k": 4}),
    Part(use="mixture.Mixture", config={"columns": LIST, "k": 4}),
    Part(use="mixture.Mixture", config={"columns": LIST, "k": 3, "covariance": "full"}),
    Part(use="hierarchical.Hierarchical", config={"columns": LIST, "k": 4}),
    Part(use="density.Density", config={"columns": LIST, "smallest": 0.05}),
    Part(use="density.Density", config={"columns": LIST, "algorithm": "dbscan", "reach": 0.4}),
    Part(use="hybrid.Hybrid", config={"columns": LIST, "k": 3, "top": [0.05]}),
    Part(use="hybrid.Hybrid", config={"columns": LIST, "k": 2, "top": [0.05, 0.3],
                                      "crossed": True, "smallest": 0.02}),
    Part(use="rules.Rules"),
)  # fmt: skip


def made(part: Part, X: pd.DataFrame, seed: int = 3) -> Segmentation:
    """What ``part`` learns from ``X``."""
    return learn(resolve(WAYS, part), X, SCHEMA, VALUE, seed=seed).segmentation


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.use)
def test_row_order_changes_nothing(part: Part) -> None:
    """Shuffled rows give the same files, and segments in the order of their value."""
    X = customers(400, 1)[0]
    one = made(part, X)
    two = made(part, X.sample(frac=1.0, random_state=5))
    assert one.save() == two.save()
    labels = one.labels(X)
    means = X[VALUE].groupby(labels).mean()
    assert means.is_monotonic_decreasing
    assert labels.max() < one.n_segments


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.use)
def test_known_types_are_found(part: Part) -> None:
    """Well parted types come back from clusters; rules and tiers agree with them in part."""
    X, kind, _ = customers(800, 2, spread=0.12)
    found = adjusted_rand_score(kind, made(part, X).labels(X))
    least = {"rules.Rules": 0.2, "hybrid.Hybrid": 0.25}.get(part.use, 0.6)
    assert found > least, f"{part.use}: {found:.3f}"


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.use)
def test_too_few_customers_are_refused_with_a_remedy(part: Part) -> None:
    """One customer, or one behaviour, makes no segments: the error says what to do."""
    X = customers(60)[0]
    for few in (X.iloc[:1], pd.concat([X.iloc[:1]] * 30)):
        with pytest.raises(DataError, match="use other columns or bring more customers"):
            made(part, few)


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.use)
def test_a_set_without_values_is_refused_with_a_remedy(part: Part) -> None:
    """Every column that a way looks at is missing for everybody."""
    X = customers(60)[0].assign(**dict.fromkeys(resolve(WAYS, part).columns(), np.nan))
    with pytest.raises(
        DataError, match=r"do not differ in any column(.|\n)*no customer has a value"
    ):
        made(part, X)


def test_a_rule_over_a_column_without_values_is_refused_with_a_remedy() -> None:
    """Rules cannot be read where nothing is known: the column is named."""
    X = customers(60)[0].assign(rfm__recency_days=np.nan)
    with pytest.raises(DataError, match=r"\['rfm__recency_days'\]; cut others"):
        made(Part(use="rules.Rules"), X)


def test_fewer_different_customers_than_segments() -> None:
    """Three kinds of rows cannot make four segments."""
    X = pd.concat([customers(60)[0].iloc[:3]] * 10)
    with pytest.raises(DataError, match="3 different rows cannot make 4 segments"):
        made(PARTS[0], X)


def test_kmeans_is_lloyds() -> None:
    """Labels are those of scikit-learn on the same scaled rows."""
    X = customers(500, 4)[0]
    found = made(PARTS[0], X)
    Z = found.space.scaled(found.rows(X))
    theirs = Lloyd(4, n_init=20, random_state=0).fit_predict(Z)
    assert adjusted_rand_score(theirs, found.labels(X)) > 0.99


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_mixture_is_scikit_learns(covariance: Any) -> None:
    """Same segments and the same BIC as the estimator that was asked."""
    X = customers(500, 4)[0]
    rows = X[LIST].to_numpy(np.float64)
    space, _ = Space.fit(rows, [k for n in LIST for k in SCHEMA if k.name == n])
    Z = space.scaled(rows)
    way = Mixture(MixtureConfig(columns=ACTIVITY, k=3, covariance=covariance))
    cells = way.fit(space, Z, seed=1)
    theirs = GaussianMixture(
        3, covariance_type=covariance, reg_covar=0.01, n_init=3, max_iter=300, random_state=1
    ).fit(Z)
    np.testing.assert_array_equal(cells.assign(Z), theirs.predict(Z))
    assert way.bic(cells, Z) == pytest.approx(theirs.bic(Z), rel=1e-9)


def test_rules_are_those_of_plain_bands() -> None:
    """Against pandas: bands by quantile, the first rule that fits, values on an edge above it."""
    X = customers(700, 6)[0].round(0)
    way = Rules(RulesConfig())
    learned = learn(way, X, SCHEMA, VALUE, seed=0)
    band = {
        name: np.searchsorted(
            np.quantile(X[name], cuts, method="higher"), X[name], side="right"
        ) + 1
        for name, cuts in way.config.quantiles.items()
    }  # fmt: skip
    expected = []
    for i in range(len(X)):
        name = way.config.otherwise
        for rule in way.config.rules:
            if all(low <= band[c][i] <= high for c, (low, high) in rule.where.items()):
                name = rule.name
                break
        expected.append(learned.places[way.names.index(name)])
    np.testing.assert_array_equal(learned.segmentation.labels(X), expected)


def test_rules_by_fixed_values() -> None:
    """Value grades: high, medium and low by amounts in the column's own unit."""
    part = Part(use="rules.Rules", config={
        "quantiles": {}, "values": {VALUE: [100.0, 500.0]}, "otherwise": "low",
        "rules": [{"name": "high", "where": {VALUE: [3, 3]}},
                  {"name": "medium", "where": {VALUE: [2, 2]}}],
    })  # fmt: skip
    X = customers(300, 7)[0]
    expected = np.select([X[VALUE] >= 500, X[VALUE] >= 100], [0, 1], 2)
    np.testing.assert_array_equal(made(part, X).labels(X), expected)


def test_hybrid_keeps_its_tiers() -> None:
    """The top share is one segment by value alone; clusters are told apart below."""
    X = customers(1000, 8)[0]
    labels = made(PARTS[6], X).labels(X)
    edge = np.quantile(X[VALUE], 0.95, method="higher")
    np.testing.assert_array_equal(labels == 0, X[VALUE] >= edge)
    assert len(np.unique(labels)) == 4


def test_hybrid_merges_small_segments() -> None:
    """No segment is under the least share."""
    X = customers(1000, 9)[0]
    sizes = np.bincount(made(PARTS[7], X).labels(X))
    assert sizes.min() >= 0.02 * len(X)


def test_density_has_an_other_group() -> None:
    """Who is far from every crowd is in a segment of its own, with those around nobody."""
    X = customers(500, 10, spread=0.1)[0]
    found = made(PARTS[4], X)
    lonely = X.iloc[:1].assign(
        rfm__recency_days=1e4, orders__orders_365d=500.0, orders__spend_365d=0.01
    )
    other = found.labels(lonely)[0]
    assert (found.labels(X) == other).mean() < 0.2


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"rules": [{"name": "x", "where": {"nothing": [1, 1]}}]}, "nothing has 1 band"),
        ({"quantiles": {"a": [0.5, 0.2]}, "rules": []}, "cuts must rise"),
        ({"quantiles": {"a": [0.5, 1.2]}, "rules": []}, "between 0 and 1"),
        (
            {"quantiles": {"a": [0.5]}, "values": {"a": [2.0]}, "rules": []},
            "stand in two of quantiles",
        ),
        ({"words": ["a"], "rules": [{"name": "x", "where": {"a": [1, 2]}}]}, "a holds words"),
        ({"values": {"a": [2.0]}, "rules": [{"name": "x", "where": {"a": []}}]}, "2 band"),
        ({"values": {"a": [2.0]}, "rules": [{"name": "x", "where": {"a": ["b"]}}]}, "2 band"),
    ],
)
def test_rules_that_do_not_fit_are_refused(config: dict[str, Any], said: str) -> None:
    """Each mistake by name."""
    with pytest.raises(ConfigError, match=said):
        resolve(WAYS, Part(use="rules.Rules", config=config))


PLACED = [
    *SCHEMA,
    FeatureColumn(name="profile__region", dtype="string", unit="category", meaning="region",
                  missing="not declared", levels=("south", "north", "east", "west")),
    FeatureColumn(name="profile__age_years", unit="years", meaning="age", missing="not declared",
                  low=0, high=120),
]  # fmt: skip


def placed(n: int = 300) -> pd.DataFrame:
    """Customers with a region and an age, some of them unknown."""
    rng = np.random.default_rng(4)
    region = rng.choice([*PLACED[-2].levels, None], n)
    X = customers(n)[0].assign(profile__age_years=rng.integers(18, 90, n).astype(float))
    X.loc[rng.random(n) < 0.2, "profile__age_years"] = np.nan
    return encoded(X.assign(profile__region=region), PLACED)


def test_rules_over_words_and_unknown_values_are_those_of_a_plain_loop() -> None:
    """The first rule that fits; unknown is a word, and band 0; nothing counts as the median."""
    config = {
        "quantiles": {}, "values": {"profile__age_years": [30, 60]}, "words": ["profile__region"],
        "rules": [
            {"name": "young north", "where": {"profile__region": ["north", "west"],
                                              "profile__age_years": [1, 1]}},
            {"name": "north", "where": {"profile__region": ["north"]}},
            {"name": "nowhere", "where": {"profile__region": ["unknown"]}},
            {"name": "ageless", "where": {"profile__age_years": [0, 0]}},
        ],
    }  # fmt: skip
    X, way = placed(), Rules(RulesConfig.model_validate(config))
    found = learn(way, X, PLACED, VALUE, seed=1)
    at = {int(place): way.names[s] for s, place in enumerate(found.places)}
    labels = [at[s] for s in found.segmentation.labels(X)]

    def by_hand(region: object, age: float) -> str:
        if region in ("north", "west") and age < 30:
            return "young north"
        if region == "north":
            return "north"
        if not isinstance(region, str):
            return "nowhere"
        return "ageless" if np.isnan(age) else "lost"

    wanted = [by_hand(*row) for row in X[["profile__region", "profile__age_years"]].to_numpy()]
    assert labels == wanted
    assert set(wanted) == {"young north", "north", "nowhere", "ageless", "lost"}
    made = found.segmentation
    rows = made.rows(X)
    again = Segmentation.load(made.save())
    assert np.array_equal(again.labels(X), made.labels(X))
    told = made.explain(rows)
    assert told.scores == pytest.approx(made.assign(rows).margin)
    for row, change in zip(rows[:60], made.least_changes(rows[:60]), strict=True):
        if change is not None:
            assert change.column == "profile__age_years"
            assert 18 <= change.after <= 90
            there = np.where(np.array(made.columns) == change.column, change.after, row)
            assert made.assign(there[None]).segment[0] == change.segment
