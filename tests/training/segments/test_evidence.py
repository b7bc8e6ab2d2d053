"""What choosing and judging are made of: measures, the study, names, matching, migration."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from features.errors import ConfigError, DataError
from features.settings import Part
from tests.training.segments.samples import ACTIVITY, SCHEMA, VALUE, customers, splits
from tests.training.segments.test_ways import PARTS, made
from training.segments import choose as choosing
from training.segments import profile, quality, words
from training.segments.baselines import PlainKMeans, QuintileSum, baselines
from training.segments.choose import FITS, choose, filled, pairs, searched
from training.segments.config import ChooseConfig, Named
from training.segments.judge import compare, of_customers
from training.segments.matching import follow, kept_names, letters, migration
from training.segments.trials import Trials

OPEN = Part(use="kmeans.KMeans")
COLUMNS = {"activity": ACTIVITY}


def chosen(kept: Path | None = None, **more: object) -> tuple[Part, pd.DataFrame]:
    """A small study over two ways."""
    config = ChooseConfig(**{"trials": 6, "k": (2, 5), "bootstrap": 3, "smallest": 0.02,
                             "penalty": 0.0, **more})  # fmt: skip
    ways = (OPEN, Part(use="rules.Rules"))
    return choose(splits(), ways, COLUMNS, VALUE, config, 3, Trials(kept), lambda *_: None)


@pytest.fixture(scope="module")
def study() -> tuple[Part, pd.DataFrame]:
    """What an undisturbed study chooses."""
    return chosen()


def test_the_study_finds_the_types_and_says_why(study: tuple[Part, pd.DataFrame]) -> None:
    """k-means with the true number or near; every trial has a reason."""
    part, table = study
    assert part.use == "kmeans.KMeans"
    assert part.config["columns"] == list(ACTIVITY)
    X, kind, _ = customers(500, 99)
    assert adjusted_rand_score(kind, made(part, X).labels(X)) > 0.8
    assert (table["state"] == "chosen").sum() == 1
    assert table["reason"].notna().all()
    best = table[table["state"] == "chosen"].iloc[0]
    fits = table[table["reason"] == FITS]
    assert best["score"] == fits["score"].max()


def test_an_interrupted_study_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: tuple[Part, pd.DataFrame]
) -> None:
    """Killed in a trial: what was found is kept, the rest is tried, and the choice is the same."""
    kept, asked = tmp_path / "studies" / "key.jsonl", []
    whole = choosing._tried

    def look(part: Part, *rest: object) -> dict[str, object]:
        asked.append(part)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return whole(part, *rest)

    monkeypatch.setattr(choosing, "_tried", look)
    with pytest.raises(KeyboardInterrupt):
        chosen(kept)
    kept.write_text(kept.read_text() + '\n["cut off')
    part, table = chosen(kept)
    assert len(asked) == 4 + len(table) - 3
    assert study[0] == part
    pd.testing.assert_frame_equal(study[1], table)
    Trials(kept).forget()
    assert not kept.exists()


def test_demands_come_before_the_score() -> None:
    """A stability that nothing reaches is told, and the nearest is taken."""
    _, table = chosen(most=2, trials=4)
    best = table[table["state"] == "chosen"].iloc[0]
    assert best["segments"] == 2 or "most segments" in best["reason"]


def test_nothing_learned_is_an_error_with_the_reasons() -> None:
    """Ways that all fail are told with why."""
    lonely = Part(use="density.Density", config={
        "algorithm": "dbscan", "reach": 1e-9, "columns": list(ACTIVITY),
    })  # fmt: skip
    with pytest.raises(DataError, match="finds no crowd"):
        choose(
            splits(),
            (lonely,),
            COLUMNS,
            VALUE,
            ChooseConfig(trials=1),
            3,
            Trials(None),
            lambda *_: None,
        )


def test_pairs_never_reach_into_the_future() -> None:
    """The period after the cutoff that teaches is over at the one that asks; the test is unseen."""
    given = splits()
    found = pairs(given, 200)
    for pair in found:
        before, after = pair.before.cutoffs[0], pair.after.cutoffs[0]
        assert before + np.timedelta64(60, "D") <= after < np.datetime64(given.moments.test)
        assert len(pair.before) == 200
        assert pair.customers == 300
        np.testing.assert_array_equal(pair.before.customers, pair.after.customers)
    with pytest.raises(ConfigError, match=r"cutoffs\.count higher"):
        pairs(type(given)(given.rows, given.moments, timedelta(days=400)), 10)


def test_the_study_fills_what_is_open() -> None:
    """Columns and number where the YAML leaves them out, and nothing else."""
    assert searched(OPEN) == (True, True)
    assert searched(PARTS[0]) == (False, False)
    assert filled(OPEN, ACTIVITY, 4).config == {"columns": list(ACTIVITY), "k": 4}
    assert filled(PARTS[0], ("x",), 9) == PARTS[0]


def test_eta_squared_is_that_of_the_analysis_of_variance() -> None:
    """Against sums of squares and scipy's F; whole weights count like repeated rows."""
    rng = np.random.default_rng(0)
    labels, y = rng.integers(0, 4, 200), rng.lognormal(size=200)
    (found,) = quality.explained(labels, y)
    F = f_oneway(*(y[labels == s] for s in range(4))).statistic
    assert found == pytest.approx(F * 3 / (F * 3 + 196))
    w = rng.integers(0, 3, 200)
    (weighted,) = quality.explained(labels, y, w[None].astype(float))
    (repeated,) = quality.explained(np.repeat(labels, w), np.repeat(y, w))
    assert weighted == pytest.approx(repeated)


def test_metrics_are_those_of_plain_code() -> None:
    """AUC against scikit-learn with rates learned before; names of segments do not matter."""
    rng = np.random.default_rng(1)
    before, now = rng.integers(0, 3, 300), rng.integers(0, 3, 300)
    spent = (rng.random(300) < 0.2 + 0.2 * before) * rng.lognormal(size=300)
    spend = (rng.random(300) < 0.2 + 0.2 * now) * rng.lognormal(size=300)
    weights = np.ones((2, 300))
    found = of_customers((before, spent), (now, spend), weights)
    rate = np.array([(spent[before == s] > 0).mean() for s in range(3)])
    assert found["buying_auc"][0] == pytest.approx(roc_auc_score(spend > 0, rate[now]))
    mean = np.array([spent[before == s].mean() for s in range(3)])
    expected = np.corrcoef(mean[now], spend)[0, 1] ** 2
    np.testing.assert_allclose(found["spend_told"], expected)
    names = np.array([2, 0, 1])
    renamed = of_customers((names[before], spent), (names[now], spend), weights)
    for metric, values in found.items():
        np.testing.assert_allclose(renamed[metric], values, err_msg=metric)


def test_answers_are_compared_on_the_same_draws() -> None:
    """A baseline with the candidate's labels differs by nothing in every draw."""
    X, kind, spend = customers(200)
    table = pd.DataFrame(
        {"customer_id": np.arange(200), "spend": spend, "candidate": kind, "copy": kind}
    )
    refits = pd.DataFrame({"candidate": [0.9, 1.0], "copy": [0.9, 1.0]})
    judged = compare(table, table, refits, {"candidate": {"stayed": 0.5}}, 50, 1)
    assert judged.difference("eta_squared", "candidate", "copy") == (0.0, 0.0, 0.0)
    value, low, high = (
        judged.table().query("answer == 'candidate' and metric == 'buying_auc'")
        [["value", "ci_low", "ci_high"]].iloc[0]
    )  # fmt: skip
    assert low < value < high


def test_spend_by_category_is_told_as_one_way_analysis_of_variance_says() -> None:
    """Between and total sums of squares by hand over all categories; constants say nothing."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 60)
    spend = np.column_stack([rng.poisson(300.0 * (labels + 1)), rng.poisson(90.0, 60), np.ones(60)])
    logs = np.log1p(spend / 100.0)
    means = np.stack([logs[labels == s].mean(axis=0) for s in range(3)])[labels]
    between, total = (((v - logs.mean(axis=0)) ** 2).sum() for v in (means, logs))
    found = quality.explained_by_category(labels, spend, np.ones((2, 60)))
    assert found == pytest.approx([between / total] * 2)


def test_plain_kmeans_joins_groups_too_small_to_tell_of() -> None:
    """Four far customers are a group of their own unless 20 are asked; nobody else moves."""
    X = customers(300, 2)[0]
    X.loc[X.index[:4], "orders__spend_total"] = 1e7
    plain, joined = PlainKMeans(3, False), PlainKMeans(3, False, least=20)
    for way in (plain, joined):
        way.fit(X, 0)
    few, many = plain.labels(X), joined.labels(X)
    assert np.bincount(few).min() == 4
    assert np.unique(many, return_counts=True)[1].min() >= 20
    assert len(np.unique(many[4:])) == len(np.unique(few[4:]))


def test_baselines_are_plain() -> None:
    """The quintile sum by hand; k-means sees scaled R, F and M; as many groups as asked."""
    X = customers(500, 2)[0]
    rules = QuintileSum(4)
    rules.fit(X, 0)
    score = sum(
        np.searchsorted(np.quantile(s, [0.2, 0.4, 0.6, 0.8]), s, side="right")
        for s in (-X["rfm__recency_days"], X["rfm__frequency_orders"], X["orders__spend_total"])
    )
    assert np.corrcoef(rules.labels(X), score)[0, 1] > 0.93
    for name, baseline in baselines(4).items():
        baseline.fit(X, 0)
        assert len(np.unique(baseline.labels(X))) <= 4, name
    km = PlainKMeans(4, logged=False)
    km.fit(X, 0)
    assert np.isfinite(km._centres).all()


def test_names_are_different_and_say_what_stands_out() -> None:
    """From the traits alone, the same every time, with no two alike."""
    X, kind, _ = customers(600, 3)
    found = profile.profiles(X, SCHEMA, kind, 4)
    named = words.names(found.shift, found.columns, found.median)
    assert len(set(named)) == 4
    assert named == words.names(found.shift, found.columns, found.median)
    assert "frequent" in named[0].lower()
    assert "long silent" in named[3].lower()
    one = words.names(np.zeros((2, 1)), ["rfm__recency_days"], np.ones((2, 1)))
    assert one == ["Average 1", "Average 2"]


def test_who_ordered_nothing_in_a_year_is_said_to_have_lapsed() -> None:
    """Not to spend little: that, like silence and few products, follows from it."""
    columns = ["rfm__recency_days", "orders__orders_365d", "orders__spend_365d", "rfm__T_days"]
    shifts = np.array([[1.3, -1.4, -1.9, 0.8], [0.7, -0.4, -0.5, 0.1]])
    medians = np.array([[520.0, 0.0, 0.0, 700.0], [160.0, 1.0, 44.0, 400.0]])
    assert words.names(shifts, columns, medians) == [
        "No order in a year, long known", "Long silent, low spend",
    ]  # fmt: skip


def test_profiles_are_means_and_medians() -> None:
    """Against pandas; pairs of types differ beyond R, F and M."""
    X, kind, _ = customers(600, 3)
    found = profile.profiles(X, SCHEMA, kind, 4)
    by = X.groupby(kind)
    np.testing.assert_allclose(found.median, by.median()[list(found.columns)])
    np.testing.assert_allclose(found.mean, by.mean()[list(found.columns)])
    np.testing.assert_allclose(found.error, by.sem()[list(found.columns)])
    apart = found.apart(list("ABCD"))
    assert len(apart) == 6
    line = apart[(apart["segment"] == "A") & (apart["other"] == "B")].iloc[0]
    assert "orders__discount_share_365d" in line["most"]
    assert "rfm__" not in " ".join(apart["most"])


def test_rules_find_their_segments() -> None:
    """At most three conditions; precision and coverage are those of the rule as written."""
    X, kind, _ = customers(600, 3)
    found = profile.rules(X, list(ACTIVITY), kind, list("ABCD"))
    for s, line in found.iterrows():
        named = np.ones(len(X), bool)
        for condition in line["rule"].split(" and "):
            column, side, edge = condition.split()
            values = X[column].fillna(X[column].median())
            named &= (values <= float(edge)) if side == "<=" else (values > float(edge))
        assert len({c.split()[0] for c in line["rule"].split(" and ")}) <= 3
        assert named.sum() == line["customers"]
        assert (kind[named] == s).mean() == pytest.approx(line["precision"], abs=1e-3)
        assert named[kind == s].mean() == pytest.approx(line["coverage"], abs=1e-3)


def test_names_survive_retraining() -> None:
    """Edited names go to the segments that they are most like; new ones get their own letters."""
    X, kind, _ = customers(600, 3)
    space = made(PARTS[0], X).space
    medians = [X[list(ACTIVITY)][kind == s].median().astype(float).to_dict() for s in range(4)]
    names = [Named(id=i, name=i * 2, like=medians[s]) for i, s in (("C", 1), ("A", 3))]
    later, other, _ = customers(600, 4)
    again = [later[list(ACTIVITY)][other == s].median().astype(float).to_dict() for s in range(4)]
    kept = kept_names(names, again, space)
    assert [n.id if n else None for n in kept] == [None, "C", None, "A"]
    assert letters(2, ["A", "C"]) == ["B", "D"]
    far = [Named(id="Z", name="far", like={"rfm__recency_days": 1e9})]
    assert kept_names(far, again[:1], space) == [None]


def test_segments_are_followed_through_splits_and_merges() -> None:
    """A split, a merge, one that goes on under another number, and one that vanishes."""
    old = np.repeat([0, 1, 2, 3], [100, 60, 50, 5])
    new = np.repeat([1, 2, 0, 3, 3], [50, 50, 60, 50, 5])
    table = follow(old, new, 4, 4).table(list("ABCD"), list("abcd")).set_index("segment")
    assert table.loc["A", "what"] == "splits into b and c"
    assert table.loc["B", ["becomes", "what", "drift"]].tolist() == ["a", "goes on", 0.0]
    assert table.loc["C", "becomes"] == "d"
    assert table.loc["D", "what"] == "merges into d"
    assert table.loc["none before", "what"] == "new"


def test_migration_loses_nobody() -> None:
    """All customers of the later cutoff and their values are in the table."""
    rng = np.random.default_rng(0)
    before = pd.DataFrame({"segment": rng.integers(0, 3, 80), "value": rng.random(80)})
    after = pd.DataFrame({"segment": rng.integers(0, 3, 100), "value": rng.random(100)})
    found = migration(before, after, list("ABC"))
    assert found["customers"].sum() == 100
    assert found["value_after"].sum() == pytest.approx(after["value"].sum())
    assert found["value_before"].sum() == pytest.approx(before["value"].sum())
    assert found.loc[found["from"] == "new", "customers"].sum() == 20
    one = found[(found["from"] == "A") & (found["to"] == "B")].iloc[0]
    expected = ((before["segment"] == 0) & (after["segment"][:80] == 1)).sum()
    assert one["customers"] == expected


def test_nothing_is_told_of_fewer_than_twenty() -> None:
    """Nobody and twenty are told, one and nineteen are not; typical customers are middle ones."""
    table = pd.DataFrame({"customers": [0, 1, 19, 20], "value": [0.0, 5.0, 6.0, 7.0]})
    shown = profile.withheld(table, ["value"])
    assert shown["customers"].tolist() == [0, "under 20", "under 20", 20]
    assert shown["value"].tolist() == [0.0, "not shown", "not shown", 7.0]
    X = pd.DataFrame({"a": [*np.linspace(0, 100, 41), 123.456, 7.0], "b": 1.0})
    labels = np.array([0] * 41 + [1] * 2)
    found = profile.examples(X, ["a", "b"], labels, 2)
    assert set(found["segment"]) == {0}
    assert sorted(found.loc[found["column"] == "a", "value"]) == [48.0, 50.0, 52.0]
