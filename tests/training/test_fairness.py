"""Answers by groups that no model has learned from, against scikit-learn, and what is put aside."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from features.errors import ConfigError
from features.schema import FeatureColumn
from tests.training.samples import BEGAN
from training.gates import CANDIDATE, Compared, Gate, gate_results
from training.report import check_complete
from training.rows import Rows
from training.supervised import fairness

GROUPS = {"a": 300, "b": 200, "few": 20}


def asked() -> tuple[Rows, np.ndarray]:
    """Customers of three groups; the answers are too high for one of them."""
    rng = np.random.default_rng(3)
    group = np.repeat(list(GROUPS), list(GROUPS.values()))
    true = rng.random(len(group))
    y = (rng.random(len(group)) < true).astype(float)
    p = np.clip(true + 0.2 * (group == "b"), 0, 1)
    audit = pd.DataFrame({"profile__gender": group})
    at = np.full(len(y), np.datetime64(BEGAN, "us"))
    rows = Rows(pd.DataFrame({"x": true}), y, np.arange(len(y), dtype=np.int64), at, audit)
    return rows, p


def test_each_group_is_judged_as_scikit_learn_counts() -> None:
    """Rate, calibration and the shares at the threshold, with intervals around them."""
    rows, p = asked()
    named = p >= 0.5
    found = fairness.table(rows, p, named, 200, 1)
    assert found is not None
    by = found.set_index("group")
    for name in ("a", "b"):
        mask = rows.audit["profile__gender"].to_numpy() == name  # type: ignore[index]
        line = by.loc[f"profile__gender = {name}"]
        tn, fp, fn, tp = confusion_matrix(rows.y[mask], named[mask]).ravel()
        assert line["customers"] == GROUPS[name]
        assert line["rate"] == pytest.approx(rows.y[mask].mean())
        assert line["over"] == pytest.approx(p[mask].mean() - rows.y[mask].mean())
        assert line["found_share"] == pytest.approx(tp / (tp + fn))
        assert line["false_alarm_share"] == pytest.approx(fp / (fp + tn))
        assert line["precision"] == pytest.approx(tp / (tp + fp))
        for measure in fairness.MEASURES:
            assert line[f"{measure}.ci_low"] <= line[measure] <= line[f"{measure}.ci_high"]
    assert (
        by.loc["profile__gender = a", "over.ci_low"]
        < 0
        < by.loc["profile__gender = a", "over.ci_high"]
    )
    assert by.loc["profile__gender = b", "over.ci_low"] > 0, "answers too high are seen"
    few = by.loc["profile__gender = few"]
    assert "fewer than 50" in few["note"]
    assert few[list(fairness.MEASURES)].isna().all()


def test_the_card_says_how_far_groups_are_apart() -> None:
    """No cell is empty, groups too small included."""
    rows, p = asked()
    found = fairness.table(rows, p, p >= 0.5, 20, 1)
    assert found is not None
    section = fairness.section(found, ["profile__gender"])
    check_complete([section])
    by = found.set_index("group")["found_share"]
    gap = by["profile__gender = b"] - by["profile__gender = a"]
    assert (
        f"found share {gap:.3f} (profile__gender = b over profile__gender = a)" in section.text[1]
    )
    fairness.figure(found)


def test_without_attributes_nothing_is_said() -> None:
    """No table rather than an empty one."""
    rows, p = asked()
    plain = Rows(rows.X, rows.y, rows.customers, rows.cutoffs)
    assert fairness.table(plain, p, p >= 0.5, 20, 1) is None


def test_what_is_named_is_put_aside() -> None:
    """Beside columns that declare it themselves; a name that is no column is refused."""
    schema = [
        FeatureColumn(name="profile__gender", unit="category", meaning="g", missing="unsaid",
                      sensitivity="audit"),
        FeatureColumn(name="profile__region", unit="category", meaning="r", missing="unsaid"),
        FeatureColumn(name="rfm__T_days", unit="days", meaning="T", missing="never"),
    ]  # fmt: skip
    found = fairness.put_aside(schema, ["profile__region"])
    aside = [column.name for column in found if column.sensitivity == "audit"]
    assert aside == ["profile__gender", "profile__region"]
    assert fairness.put_aside(schema, []) == schema
    with pytest.raises(ConfigError, match=r"no column \['profile__sex'\] among the features"):
        fairness.put_aside(schema, ["profile__sex"])


@pytest.mark.parametrize(
    ("margin", "ours", "passes"), [(0.01, 0.80, True), (0.05, 0.76, True), (0.01, 0.76, False)]
)
def test_the_best_other_baseline_sets_the_margin(margin: float, ours: float, passes: bool) -> None:
    """Not the declared one, which has to be beaten, nor the weaker of the others."""
    noise = np.linspace(-0.001, 0.001, 41)
    level = {CANDIDATE: ours, "declared": 0.99, "weak": 0.5, "strong": 0.79}
    draws = {name: {"roc_auc": value + np.append(0.0, noise)} for name, value in level.items()}
    gates = {"roc_auc": Gate(others_margin=margin)}
    found = gate_results(gates, Compared(draws=draws), "declared", "no champion yet", {})
    assert [line["passed"] for line in found] == [passes]
    assert f"{ours - 0.79:+.4f}" in found[0]["found"]
    alone = {name: draws[name] for name in (CANDIDATE, "declared")}
    found = gate_results(gates, Compared(draws=alone), "declared", "no champion yet", {})
    assert found[0]["passed"]
    assert found[0]["found"] == "there is no other"
