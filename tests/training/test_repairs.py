"""Declared repairs: learned from teaching rows alone, counted, marked, the same by every door."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sklearn.impute import SimpleImputer

from features.errors import ConfigError, DataError
from features.outliers import Outliers
from features.settings import Part, validated
from tests.contracts import models as contract
from tests.training import samples
from tests.training.finished import MARKS, planned, settled
from tests.worlds import ROOT
from training import bundle as bundles
from training import runs
from training.bundle import PyfuncAnswer
from training.calibrate import CalibrateConfig
from training.contract import Floats, Model, matrix
from training.model_part import ModelPart, built
from training.models.gbm import Gbm, GbmConfig
from training.models.logistic import Logistic, LogisticConfig
from training.repairs import NOTHING, Repaired
from training.rows import Rows
from training.splits import Splits
from training.supervised import bundle as supervised
from training.supervised import card
from training.supervised.learn import learn

pytestmark = [mark for mark in MARKS if mark.name == "filterwarnings"]
GAP, SPEND, RECENCY = "cadence__gap_mean_days", "orders__spend_90d", "rfm__recency_days"
DECLARED: dict[str, Any] = {
    GAP: {"impute": "model", "outliers": {"by": "z_score", "beyond": 2, "then": "cap"}},
    SPEND: {"outliers": {"by": "z_score", "then": "flag"}},
    RECENCY: {"impute": "median"},
}


def part(repairs: dict[str, Any], use: str = "logistic.Logistic", **config: Any) -> ModelPart:
    """A model with repairs."""
    return validated(ModelPart, {"use": use, "config": config, "repairs": repairs}, "test")


def fitted(
    repairs: dict[str, Any], X: pd.DataFrame, y: Floats, use: str = "logistic.Logistic"
) -> Repaired:
    """It, fitted."""
    model = built(part(repairs, use))
    assert isinstance(model, Repaired)
    model.fit(X, y, weight=None, seed=0)
    return model


def seen(model: Repaired, X: pd.DataFrame) -> pd.DataFrame:
    """What the model behind the repairs sees of ``X``."""
    names = [*X.columns, *(f"{name}__{word}" for name, word in model.marks)]
    return pd.DataFrame(model.repaired(matrix(X, model.columns)), columns=names)


class _Line(Repaired):
    """A regression behind repairs, as a model of its own."""

    config: LogisticConfig
    answers = ("event",)

    def __init__(self, config: LogisticConfig) -> None:
        super().__init__(Logistic(config), part(DECLARED).repairs)


class _Trees(Repaired):
    """Boosted trees behind repairs."""

    config: GbmConfig
    answers = ("event",)

    def __init__(self, config: GbmConfig) -> None:
        super().__init__(Gbm(config), part(DECLARED).repairs)


LIMITS = {"_Line": 1e-11, "_Trees": 1e-4}


@pytest.mark.parametrize("cls", [_Line, _Trees])
@pytest.mark.parametrize("check", contract.CHECKS)
def test_a_repaired_model_keeps_the_contract_of_models(
    check: str, cls: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Explanations add up in the original columns, single rows equal many, saved is loaded."""
    monkeypatch.setitem(contract.ADDS_UP, contract.name_of(cls), LIMITS[cls.__name__])
    monkeypatch.setitem(contract.ON_AVERAGE, contract.name_of(cls), 5e-3)
    contract.CHECKS[check](cls)


@pytest.mark.parametrize("method", ["mean", "median", "mode"])
def test_a_fill_is_that_of_scikit_learn(method: str) -> None:
    """Every missing value, and no other, becomes the statistic of the known ones."""
    X, y, _ = samples.customers(400)
    X[GAP] = X[GAP].round(-1)
    told = seen(fitted({GAP: {"impute": method}}, X, y), X)
    strategy = "most_frequent" if method == "mode" else method
    expected = SimpleImputer(strategy=strategy).fit_transform(X[[GAP]])[:, 0]
    assert told[GAP].to_numpy() == pytest.approx(expected)
    assert (told[f"{GAP}__imputed"] == X[GAP].isna()).all()
    others = [name for name in X if name != GAP]
    assert told[others].equals(X[others])


def test_a_fill_by_model_comes_nearer_than_the_mean() -> None:
    """What hangs together with other columns is told by them, never beyond what was seen."""
    rng = np.random.default_rng(1)
    X, y, _ = samples.customers(2_000)
    truth = 20 + 3 * X["rfm__frequency_orders"] + 0.2 * X[RECENCY] + rng.normal(0, 2, len(X))
    holed = X.assign(**{GAP: truth.where(rng.random(len(X)) < 0.7)})
    model = fitted({GAP: {"impute": "model"}}, holed, y)
    gone = holed[GAP].isna()
    missed = (seen(model, holed)[GAP] - truth)[gone]
    assert np.sqrt((missed**2).mean()) < 0.3 * truth[gone].std()
    far = holed.head(1).assign(**{GAP: np.nan, RECENCY: 1e9})
    assert seen(model, far)[GAP].item() == holed[GAP].max()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"by": "z_score", "beyond": 2}, lambda x: (x.mean(), x.mean(), 2 * x.std())),
        (
            {"by": "iqr", "beyond": 1.5},
            lambda x: (*np.quantile(x, [0.25, 0.75]), 1.5 * np.ptp(np.quantile(x, [0.25, 0.75]))),
        ),
    ],
    ids=["z_score", "iqr"],
)
def test_outliers_are_flagged_or_capped(rule: dict[str, Any], expected: Any) -> None:
    """A flag leaves the value, a cap puts the bound in its place; both are marked."""
    X, y, _ = samples.customers(500)
    values = X[RECENCY].to_numpy()
    lower, upper, away = expected(values)
    low, high = lower - away, upper + away
    out = (values < low) | (values > high)
    assert 0 < out.sum() < 60
    flagged = seen(fitted({RECENCY: {"outliers": rule}}, X, y), X)
    capped = seen(fitted({RECENCY: {"outliers": {**rule, "then": "cap"}}}, X, y), X)
    assert (flagged[RECENCY] == values).all()
    assert capped[RECENCY].to_numpy() == pytest.approx(np.clip(values, low, high))
    for told, word in ((flagged, "flagged"), (capped, "capped")):
        assert (told[f"{RECENCY}__{word}"] == out).all()


def test_words_have_their_commonest_word() -> None:
    """A missing word, or one that was not learned, counts as the mode of those that teach."""
    X, y, _ = samples.customers(300)
    plans = pd.Categorical(["gold", "iron", "iron"] * 100, categories=["gold", "iron"])
    X["attributes__plan"] = pd.Series(plans).where(np.arange(300) > 20)
    model = fitted({"attributes__plan": {"impute": "mode"}}, X, y)
    assert (seen(model, X)["attributes__plan"][:21] == 1).all()
    (line,) = model.counted({"taught": X}).to_dict("records")
    assert (line["learned"], line["taught_repaired"]) == ("mode iron", 21)


def test_answers_name_what_was_repaired() -> None:
    """Column by column, in the order of the YAML; what was left alone is said, too."""
    X, y, _ = samples.customers(500)
    model = fitted(DECLARED, X, y)
    rows = X.dropna().head(3).reset_index(drop=True)
    rows.loc[1, [GAP, RECENCY]] = np.nan
    rows.loc[2, [GAP, SPEND]] = 1e6
    assert model.words(matrix(rows, model.columns)).tolist() == [
        NOTHING, f"{GAP} imputed; {RECENCY} imputed", f"{GAP} capped; {SPEND} flagged",
    ]  # fmt: skip
    counted = model.counted({"taught": X, "shown": rows}).set_index(["column", "repair"])
    assert counted.loc[(GAP, "imputed"), "taught_repaired"] == X[GAP].isna().sum()
    assert counted["shown_repaired"].to_dict() == {
        (GAP, "capped"): 1, (GAP, "imputed"): 1, (SPEND, "flagged"): 1, (RECENCY, "imputed"): 1,
    }  # fmt: skip


def _changed(splits: Splits, mask: Any) -> Splits:
    """The same with other values of every column in the rows that ``mask`` names."""
    X = splits.rows.X.copy()
    X.loc[mask] = X.loc[mask] * 7 + 1
    rows = Rows(X, splits.rows.y, splits.rows.customers, splits.rows.cutoffs)
    return replace(splits, rows=rows)


def test_rows_that_are_judged_change_no_fill() -> None:
    """Neither those of the test cutoff, nor for a validation block those of it and of later."""
    splits = samples.splits()
    said = part(DECLARED)

    def shipped(of: Splits) -> dict[str, bytes]:
        return learn(of.shipped, "event", said, CalibrateConfig(), 3, lambda: None).model.save()

    def for_fold(of: Splits) -> dict[str, bytes]:
        fold: Model = built(said)
        fold.fit(of.shipped.folds[0].taught.X, of.shipped.folds[0].taught.y, weight=None, seed=3)
        return fold.save()

    test = splits.shipped.last.held
    later = ~splits.shipped.folds[0].teaching
    assert later[splits.shipped.folds[0].held].all()
    assert shipped(_changed(splits, test)) == shipped(splits)
    assert for_fold(_changed(splits, later)) == for_fold(splits)
    assert shipped(_changed(splits, later)) != shipped(splits)  # later cutoffs do teach that one


@pytest.mark.parametrize("use", ["logistic.Logistic", "gbm.Gbm"])
def test_one_answer_in_python_pyfunc_and_row_by_row(use: str, tmp_path: Path) -> None:
    """A written bundle answers, explains and marks as the model that was fitted, to the bit."""
    base, rows = samples.bundle(use)
    X, y, _ = samples.customers(300)
    said = part(DECLARED, use)
    model = fitted(DECLARED, X, y, use)
    answer = base.answer.model_copy(update={"model": said, "told": (model.column(),)})
    made = replace(base, answer=answer, model=model)
    supervised.write(made, rows, tmp_path / "bundle", key := Ed25519PrivateKey.generate())
    loaded = bundles.load(tmp_path / "bundle", key.public_key())
    assert loaded.answer == answer
    assert loaded.replay() == 0.0
    frame = pd.DataFrame(rows, columns=list(model.columns))
    expected = made.predict_frame(frame)
    assert set(expected["repaired"]) > {NOTHING}
    pd.testing.assert_frame_equal(loaded.predict_frame(frame), expected, check_exact=True)
    pd.testing.assert_frame_equal(PyfuncAnswer(loaded).predict(frame), expected, check_exact=True)
    singles = pd.concat([loaded.predict_frame(frame[i : i + 1]) for i in range(len(frame))])
    pd.testing.assert_frame_equal(singles, expected, check_exact=True)


def test_a_model_without_repairs_is_itself() -> None:
    """No wrapper, no column in the answers."""
    assert isinstance(built(Part(use="logistic.Logistic")), Logistic)
    assert isinstance(built(part({})), Logistic)


def test_the_example_of_the_docs_holds() -> None:
    """What docs/questions.md shows is understood as written."""
    page = (ROOT / "docs" / "questions.md").read_text()
    (shown,) = re.findall(r"```yaml\n(model:\n.*?repairs:.*?)```", page, re.DOTALL)
    said = validated(ModelPart, yaml.safe_load(shown)["model"], "docs/questions.md")
    assert [repair.marks for repair in said.repairs.values()] == [["imputed"], ["capped"]]


def test_nothing_to_learn_from_is_said_for_all_columns_at_once() -> None:
    """A column that is missing throughout, one without a spread, one that is mostly one value."""
    X, y, _ = samples.customers(100)
    X = X.assign(**{GAP: np.nan, RECENCY: 0.1})
    with pytest.raises(DataError) as caught:
        fitted(
            {GAP: {"impute": "mean"}, RECENCY: {"outliers": {"by": "z_score"}},
             SPEND: {"outliers": {"by": "iqr"}} | {"impute": "mode"}},
            X.assign(**{SPEND: np.where(np.arange(100) < 80, 0.0, 5.0)}), y,
        )  # fmt: skip
    assert str(caught.value).splitlines()[1:] == [
        f"  - {GAP}: missing in all of them, there is nothing to learn from",
        f"  - {RECENCY}: outliers by z_score: all values are one and the same",
        f"  - {SPEND}: outliers by iqr: half of the values or more are one and the same: take "
        "z_score",
    ]
    with pytest.raises(ValueError, match="no value is known"):
        Outliers(by="iqr").bounds(np.array([np.nan]))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A workspace of its own."""
    return settled(tmp_path, monkeypatch)


SETS = (
    "features=[{use: rfm.Rfm}, {use: cadence.Cadence}, {use: attributes.Attributes, optional: true,"
    " config: {columns: {plan: category, age: {unit: years, sensitivity: audit}}}}]"
)


def test_repairs_that_do_not_fit_are_refused_before_data_are_read(place: Any) -> None:
    """Unknown columns, words, audit columns, empty and unknown repairs, questions with details."""
    wrong = (
        "{rfm__recency: {impute: mean}, attributes__plan: {impute: median}, "
        "attributes__age: {impute: mean}}"
    )
    with pytest.raises(ConfigError) as caught:
        planned(place, SETS, f"model.repairs={wrong}",
                "baselines=[{use: recency.Recency, repairs: {attributes__plan: {outliers: "
                "{by: iqr}}}}]")  # fmt: skip
    assert str(caught.value).splitlines()[1:] == [
        "  - gbm.Gbm: repairs.rfm__recency: no feature set of the pipeline has this column",
        "  - gbm.Gbm: repairs.attributes__plan: impute median needs a number; take mode for words",
        "  - gbm.Gbm: repairs.attributes__age: an audit column, no model learns from it",
        "  - recency.Recency: repairs.attributes__plan: outliers need a number, the column holds "
        "words",
    ]
    far = "model.repairs={rfm__recency_days: {outliers: {by: iqr}}}"
    for held in ("catalogue", "{rfm__recency_days: 1}"):
        with pytest.raises(ConfigError, match="could not hold the mark"):
            planned(place, far, f"model.config.monotone_constraints={held}")
    assert planned(place, far, "model.config.monotone_constraints={rfm__frequency_orders: -1}")
    with pytest.raises(ConfigError, match="tells more than one number"):
        planned(place, "task={use: clv.Clv}", "model={use: hybrid.Hybrid, repairs: "
                "{rfm__recency_days: {impute: mean}}}", "search.space={}", "search.metric=spearman",
                "baselines=[{use: past_value.PastValue}]", "gates={}")  # fmt: skip
    for repair, said in (
        ("{}", "give outliers, impute or both"),
        ("{impute: knn}", "'mean', 'median', 'mode' or 'model'"),
        ("{outliers: {by: mad}}", "'z_score' or 'iqr'"),
        ("{outliers: {by: iqr, beyond: 0}}", "greater than 0"),
    ):
        with pytest.raises(ConfigError, match=said):
            planned(place, f"model.repairs={{rfm__recency_days: {repair}}}")


def test_a_run_counts_what_it_repaired(place: Any) -> None:
    """From raw files to a bundle: searched, beside the same model without repairs, counted."""
    repairs = (
        f"{{{GAP}: {{impute: median}}, rfm__monetary_value: "
        "{outliers: {by: iqr, beyond: 2, then: cap}}}"
    )
    plan = planned(
        place, "features=[{use: rfm.Rfm}, {use: cadence.Cadence}]", "search.trials=2",
        f"model.repairs={repairs}", "baselines=[{use: logistic.Logistic}]", "stale_months=[1]",
        "source.simulate.customers=250", "cutoffs.count=4", "cutoffs.folds=1",
    )  # fmt: skip
    learned = runs.learn(place, plan, runs.stages(plan))
    folder = learned.published.folder
    (section,) = card._repairs(SimpleNamespace(learned=learned.published))  # noqa: PLC2701
    counted = section.table.set_index(["column", "repair"])
    assert list(counted.index) == [(GAP, "imputed"), ("rfm__monetary_value", "capped")]
    asked = pd.read_parquet(folder / "test_rows.parquet")
    assert counted.loc[(GAP, "imputed"), "shown_repaired"] == asked[GAP].isna().sum() > 0
    assert (counted["taught_repaired"] > 0).all()
    made = learned.bundle(place)
    told = made.predict_frame(asked[list(made.columns)])
    assert (told["repaired"].str.contains(f"{GAP} imputed") == asked[GAP].isna()).all()
    assert made.replay() == 0.0
    assert set(learned.published.manifest["facts"]["parts"]["candidate"]["repairs"]) == {
        GAP, "rfm__monetary_value",
    }  # fmt: skip
