"""The search: a space that fits, the written config first, and the same end after interruptions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError
from features.settings import validated
from tests.training import samples
from training import tune as module
from training.model_part import ModelPart
from training.splits import Splits
from training.tune import SearchConfig, check_space, tune

MODEL = ModelPart(use="logistic.Logistic", config={"C": 0.5})
SEARCH = SearchConfig(
    trials=6, metric="log_loss", space={"C": (0.001, 10, "log"), "knots": (2, 33)}
)
SEED = 11


@pytest.fixture(scope="module")
def splits() -> Splits:
    """Six teaching cutoffs, two of them validating."""
    return samples.splits(n=60)


def nothing(done: int, total: int) -> None:
    """A report that nobody reads."""


def searched(
    splits: Splits, file: Path, search: SearchConfig = SEARCH, report: Any = nothing
) -> tuple[ModelPart, pd.DataFrame]:
    """The best part and the table of trials."""
    return tune(splits.shipped, "event", MODEL, search, SEED, f"sqlite:///{file}", report)


@pytest.fixture(scope="module")
def undisturbed(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a search finds that nothing interrupts."""
    return searched(splits, tmp_path_factory.mktemp("study") / "study.db")


# --- the space ----------------------------------------------------------------------------------


def test_all_problems_of_a_space_are_listed_at_once() -> None:
    """Unknown field, bound outside the config, empty range and unknown metric in one message."""
    search = SearchConfig(
        metric="auc",
        space={
            "max_leaves": (1, 2),
            "max_depth": (0, 8),
            "learning_rate": (0.5, 0.1),
            "reg_lambda": (0, 1, "log"),
            "subsample": (0.5, 1.5),
        },
    )
    with pytest.raises(ConfigError) as caught:
        check_space(search, ModelPart(use="gbm.Gbm"), "event")
    message = str(caught.value)
    assert "search.metric: 'auc' is unknown; known: ['accuracy', 'average_precision'" in message
    assert "search.space.max_leaves: gbm.Gbm has no such field; it has ['colsample" in message
    assert "search.space.max_depth: 0: Input should be greater than or equal to 1" in message
    assert "search.space.learning_rate: [0.5, 0.1] is no range" in message
    assert "search.space.reg_lambda: [0, 1] is no range" in message
    assert "search.space.subsample: 1.5: Input should be less than or equal to 1" in message
    assert message.count("\n  - ") == 6


def test_a_fraction_for_a_whole_number_is_refused() -> None:
    """A bound that the field's type does not take is named."""
    with pytest.raises(ConfigError, match=r"search\.space\.max_depth: 2\.5: .*valid integer"):
        check_space(SearchConfig(space={"max_depth": (2.5, 4)}), ModelPart(use="gbm.Gbm"), "event")


@pytest.mark.parametrize(
    "space", [{"C": [1]}, {"C": [1, 2, "linear"]}, {"C": "1-2"}, {"C": [1, "two"]}]
)
def test_a_bound_of_another_shape_is_refused(space: dict[str, Any]) -> None:
    """Anything but ``[low, high]`` and ``[low, high, log]`` is refused by the field's name."""
    with pytest.raises(ConfigError, match=r"space\.C"):
        validated(SearchConfig, {"space": space}, "search")


def test_a_fitting_space_is_accepted() -> None:
    """Bounds that the config accepts pass, equal ones too."""
    space = {"max_depth": (2, 5), "reg_lambda": (1, 30, "log"), "subsample": (0.8, 0.8)}
    check_space(SearchConfig(space=space), ModelPart(use="gbm.Gbm"), "event")


# --- the search ---------------------------------------------------------------------------------


def test_the_first_trial_is_the_written_config(undisturbed: Any, tmp_path: Path) -> None:
    """Trial 0 has the values of the YAML, and the defaults where it says nothing."""
    _, table = undisturbed
    first = table.iloc[0]
    assert (first["trial"], first["C"], first["knots"]) == (0, 0.5, 33)


def test_a_written_value_outside_the_space_is_moved_to_its_edge(
    splits: Splits, tmp_path: Path
) -> None:
    """The first trial stays inside the space, also where the default is a whole number."""
    search = SearchConfig(trials=1, metric="log_loss", space={"C": (0.6, 2), "knots": (2, 9)})
    _, table = searched(splits, tmp_path / "study.db", search)
    assert table.iloc[0][["C", "knots"]].tolist() == [0.6, 9]
    gbm = ModelPart(use="gbm.Gbm", config={"trees": 2})
    search = SearchConfig(trials=1, metric="log_loss", space={"min_child_weight": (50.5, 60)})
    _, table = tune(splits.shipped, "event", gbm, search, SEED, None, nothing)
    assert table.iloc[0]["min_child_weight"] == 50.5


def test_the_best_trial_is_returned(undisturbed: Any, splits: Splits, tmp_path: Path) -> None:
    """The part has the parameters of the best finished trial and the rest as written."""
    best, table = undisturbed
    assert len(table) == SEARCH.trials
    assert set(table["state"]) <= {"complete", "pruned"}
    complete = table[table["state"] == "complete"]
    top = complete.loc[complete["value"].idxmin()]  # log loss: lower is better
    assert best.use == MODEL.use
    assert best.config == {"C": top["C"], "knots": int(top["knots"])}
    assert table["C"].between(0.001, 10).all()
    assert table["knots"].between(2, 33).all()
    assert not table[["C", "knots"]].duplicated().any()  # no trial is wasted on a repetition
    search = SEARCH.model_copy(update={"metric": "roc_auc", "trials": 4})
    best, table = searched(splits, tmp_path / "auc.db", search)
    top = table.loc[table["value"].idxmax()]  # and of this one more is better
    assert best.config["C"] == top["C"]


def test_the_value_is_the_mean_over_the_folds(undisturbed: Any, splits: Splits) -> None:
    """A trial's value is what fitting before each fold and judging on it gives."""
    _, table = undisturbed
    first = table.iloc[0]
    values = []
    for cutoff in splits.moments.folds:
        model = module.fitted(MODEL, splits.block(cutoff), SEED)
        rows = splits.rows.at(cutoff)
        p = 1 / (1 + np.exp(-model.score(rows.X.to_numpy(np.float64))))
        values.append(float(-np.mean(rows.y * np.log(p) + (1 - rows.y) * np.log1p(-p))))
    assert first["value"] == pytest.approx(np.mean(values), rel=1e-9)
    assert first["mean_to_fold_0"] == pytest.approx(values[0], rel=1e-9)


def test_no_trials_or_no_space_leave_the_model_as_written(splits: Splits, tmp_path: Path) -> None:
    """Nothing is searched, nothing is written."""
    for search in (SEARCH.model_copy(update={"trials": 0}), SearchConfig(trials=3)):
        best, table = searched(splits, tmp_path / "study.db", search)
        assert best == MODEL
        assert table.empty
    assert not (tmp_path / "study.db").exists()


def test_progress_is_reported_trial_by_trial(splits: Splits, tmp_path: Path) -> None:
    """Each finished trial is counted once."""
    said: list[tuple[int, int]] = []
    search = SEARCH.model_copy(update={"trials": 3})
    searched(splits, tmp_path / "study.db", search, lambda *at: said.append(at))
    assert said == [(1, 3), (2, 3), (3, 3)]


# --- interruptions ------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing that code would catch."""


def killing(monkeypatch: pytest.MonkeyPatch, at_fit: int) -> None:
    """Make the ``at_fit``-th fit the last."""
    fits = iter(range(1, 1_000))
    fit: Callable[..., Any] = module.fitted

    def dying(*args: Any, **kwargs: Any) -> Any:
        if next(fits) == at_fit:
            raise Killed
        return fit(*args, **kwargs)

    monkeypatch.setattr(module, "fitted", dying)


@pytest.mark.parametrize("at_fit", [1, 2, 6, 11])
def test_a_killed_search_ends_as_an_undisturbed_one(
    at_fit: int, splits: Splits, undisturbed: Any, tmp_path: Path
) -> None:
    """Killed within any trial, the first included, the rerun has the same trials and best."""
    file = tmp_path / "study.db"
    with pytest.MonkeyPatch.context() as patched:
        killing(patched, at_fit)
        with pytest.raises(Killed):
            searched(splits, file)
    best, table = searched(splits, file)
    expected, whole = undisturbed
    pd.testing.assert_frame_equal(table, whole, check_exact=True)
    assert best == expected


def test_a_search_killed_again_and_again_ends_the_same(
    splits: Splits, undisturbed: Any, tmp_path: Path
) -> None:
    """Killed after every trial, between two of them, the end is that of an undisturbed search."""
    file = tmp_path / "study.db"

    def die(done: int, total: int) -> None:
        raise Killed

    for _ in range(SEARCH.trials):
        with pytest.raises(Killed):
            searched(splits, file, report=die)
    best, table = searched(splits, file, report=die)  # nothing is left to do
    expected, whole = undisturbed
    pd.testing.assert_frame_equal(table, whole, check_exact=True)
    assert best == expected


def test_a_file_that_is_no_study_is_refused(splits: Splits, tmp_path: Path) -> None:
    """A foreign file under the study's name is named with the remedy, and left as it is."""
    file = tmp_path / "study.db"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match=r"study\.db: not a storage of studies .*remove it"):
        searched(splits, file)
    assert file.read_bytes() == b"no database" * 100


# --- early stopping -----------------------------------------------------------------------------


def test_boosting_stops_where_later_blocks_are_answered_best(splits: Splits) -> None:
    """By brute force over the rounds; the table and the best config say how many."""
    search = SearchConfig(trials=1, metric="log_loss", early_stopping=True)
    part = ModelPart(
        use="gbm.Gbm", config={"trees": 60, "learning_rate": 0.3, "min_child_weight": 1}
    )
    best, table = tune(splits.shipped, "event", part, search, SEED, None, nothing)
    means = {}
    for rounds in range(6, 61, 6):
        fewer = ModelPart(use=part.use, config={**part.config, "trees": rounds})
        plain = SearchConfig(trials=1, metric="log_loss", space={"reg_lambda": (1, 1)})
        _, trials = tune(splits.shipped, "event", fewer, plain, SEED, None, nothing)
        means[rounds] = trials["value"][0]
    expected = min(means, key=means.__getitem__)
    assert expected < 60, "boosted so hard, it must fit too much in the end"
    assert best.config["trees"] == table["trees"][0] == expected
    assert table["value"][0] == pytest.approx(means[expected], abs=1e-6)


def test_what_does_not_boost_cannot_stop() -> None:
    """Nor can its rounds be searched besides."""
    search = SearchConfig(early_stopping=True, space={"trees": (10, 20)})
    for use, count in (("gbm.Gbm", 1), ("forest.Forest", 2)):
        with pytest.raises(ConfigError) as caught:
            check_space(search, ModelPart(use=use), "event")
        assert str(caught.value).count("\n  - ") == count


# --- starting from what is known, and several at once -------------------------------------------


def test_the_search_starts_where_it_is_told(splits: Splits, tmp_path: Path) -> None:
    """After the config as written come the given parameters, moved into the space, each once."""
    starts = ({"C": 3.0, "knots": 5}, {"C": 99.0}, {"C": 3, "knots": 5.0}, {})
    search = SEARCH.model_copy(update={"trials": 3, "start": starts})
    _, table = tune(splits.shipped, "event", MODEL, search, SEED, None, nothing)
    assert table[["C", "knots"]].to_numpy().tolist() == [[0.5, 33], [3.0, 5], [10.0, 33]]
    odd = SearchConfig(space={"C": (0.1, 1)}, start=({"depth": 3.0},))
    with pytest.raises(ConfigError, match=r"search\.start: depth: not in search\.space"):
        check_space(odd, MODEL, "event")


def test_a_study_of_other_rows_or_settings_is_refused(splits: Splits, tmp_path: Path) -> None:
    """Resumed with another space, seed or fold, its trials would say nothing."""
    search, url = SEARCH.model_copy(update={"trials": 1}), f"sqlite:///{tmp_path / 'study.db'}"
    tune(splits.shipped, "event", MODEL, search, SEED, url, nothing)
    other = search.model_copy(update={"space": {"C": (0.1, 1)}})
    fewer = replace(splits.shipped, folds=splits.shipped.folds[:1])
    for within, asked, seed in (
        (splits.shipped, other, SEED),
        (splits.shipped, search, SEED + 1),
        (fewer, search, SEED),
    ):
        with pytest.raises(ConfigError, match="is of other settings, data or code"):
            tune(within, "event", MODEL, asked, seed, url, nothing)


def test_slices_tell_which_field_mattered(splits: Splits) -> None:
    """The field that the value depends on has the greater share; too few trials tell none."""
    search = SearchConfig(space={"C": (0.001, 10), "knots": (2, 33)})
    rng = np.random.default_rng(0)
    trials = pd.DataFrame({"trial": range(30), "state": "complete", "C": rng.uniform(0.1, 9, 30),
                           "knots": rng.integers(2, 33, 30)})  # fmt: skip
    trials["value"] = trials["C"] ** 2 + 0.1 * trials["knots"]
    found = module.search_slices(trials, MODEL, search).groupby("field")["importance"].first()
    assert found["C"] > 0.8
    assert found.sum() == pytest.approx(1.0)
    assert module.search_slices(trials[:4], MODEL, search)["importance"].isna().all()
