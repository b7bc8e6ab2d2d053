"""Judging: paired differences, slices, gates one by one, and the alarm for leaks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.settings import validated
from tests.training.samples import BEGAN, customers
from training.contract import Floats
from training.evaluate import (
    Judged,
    judge,
    single_feature_alarm,
    slices,
)
from training.gates import CANDIDATE, CHAMPION, Gate, check_gates, gate_results
from training.gates import failed as stopping
from training.metrics import LOWER_IS_BETTER, OF_KIND
from training.rows import Rows

REPEATS = 60


def sample(n: int = 800, seed: int = 0) -> tuple[Rows, Floats]:
    """Rows, two a customer, and the probabilities that their labels come from."""
    X, y, p = customers(n, seed)
    cutoffs = np.full(n, np.datetime64(BEGAN, "us"))
    return Rows(X, y, np.arange(n, dtype=np.int64) // 2, cutoffs), p


def judged(**answers: Floats) -> Judged:
    """The answers on the sample, all with threshold one half."""
    rows, _ = sample()
    return judge(rows, answers, dict.fromkeys(answers, 0.5), REPEATS, seed=1)


def worse(p: Floats, how: float = 1.0, seed: int = 9) -> Floats:
    """Probabilities with noise in the log-odds: the larger ``how``, the worse."""
    noise = np.random.default_rng(seed).normal(0, how, len(p))
    return np.asarray(1 / (1 + np.exp(-(np.log(p / (1 - p)) + noise))))


TRUTH = sample()[1]
GOOD = judged(**{CANDIDATE: TRUTH, "recency": worse(TRUTH), CHAMPION: worse(TRUTH, 0.05)})


# --- differences --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [m for m in OF_KIND["event"] if m != "mean_probability"])
def test_above_zero_means_better(metric: str) -> None:
    """Whichever way a metric points, the better answer's difference is above 0."""
    rows, _ = sample()
    both = {"label": rows.y * 0.98 + 0.01, "coin": worse(TRUTH, 3.0)}
    found = judge(rows, both, dict.fromkeys(both, 0.5), REPEATS, seed=1)
    value, low, high = found.difference(metric, "label", "coin")
    assert low <= value <= high
    assert low > 0
    back, back_low, back_high = found.difference(metric, "coin", "label")
    assert (back, back_low, back_high) == pytest.approx((-value, -high, -low))
    plain = found.draws["label"][metric][0] - found.draws["coin"][metric][0]
    assert value == pytest.approx(-plain if metric in LOWER_IS_BETTER else plain)


def test_differences_are_paired() -> None:
    """Two answers alike but for a little have a far narrower interval than either alone."""
    found = judged(**{CANDIDATE: TRUTH, "near": worse(TRUTH, 0.02)})
    _, low, high = found.difference("roc_auc", CANDIDATE, "near")
    table = found.table().set_index(["answer", "metric"])
    alone = table.loc[(CANDIDATE, "roc_auc")]
    assert high - low < 0.2 * (alone["ci_high"] - alone["ci_low"])
    itself = judged(**{CANDIDATE: TRUTH, "same": TRUTH})
    assert itself.difference("log_loss", CANDIDATE, "same") == (0.0, 0.0, 0.0)


def test_tables_are_complete() -> None:
    """Every answer has every metric with its interval; the candidate is held against the others."""
    table = GOOD.table()
    assert len(table) == 3 * len(OF_KIND["event"])
    assert (table["ci_low"] <= table["ci_high"]).all()
    # Drawing customers anew adds noise to every bin, so that draws of ece lie above its value.
    unbiased = table[table["metric"] != "ece"]
    assert unbiased["value"].between(unbiased["ci_low"], unbiased["ci_high"]).all()
    assert set(table["n"]) == {800}
    against = GOOD.differences()
    assert set(against["against"]) == {"recency", CHAMPION}
    assert set(against["metric"]) == set(OF_KIND["event"]) - {"mean_probability"}
    assert not table.isna().any().any()


# --- gates --------------------------------------------------------------------------------------

ALL = {
    "roc_auc": Gate(min=0.7, beats_baseline=True, champion_margin=0.02),
    "ece": Gate(max=0.08),
    "mean_probability": Gate(min=0.2, max=0.8),
}
CHECKS = {"adds up": (1e-7, 1e-4)}


def failed(
    found: Judged = GOOD,
    gates: dict[str, Gate] | None = None,
    note: str = "",
    checks: dict[str, tuple[float, float]] | None = None,
) -> list[str]:
    """Names of the gates that do not pass."""
    results = gate_results(gates or ALL, found, "recency", note, checks or CHECKS)
    assert all(set(r) == {"gate", "demand", "found", "passed", "counts"} for r in results)
    assert all(isinstance(r["passed"], bool) for r in results)
    return [r["gate"] for r in results if not r["passed"]]


def test_a_good_model_passes_every_gate() -> None:
    """Nothing is refused, and every demand is answered."""
    assert failed() == []
    results = gate_results(ALL, GOOD, "recency", "", CHECKS)
    assert [r["gate"] for r in results] == [
        "roc_auc floor", "roc_auc beats recency", "roc_auc against champion", "ece ceiling",
        "mean_probability floor", "mean_probability ceiling", "adds up",
    ]  # fmt: skip


def test_each_gate_refuses_the_model_that_fails_it_alone() -> None:
    """For each demand there is a model that fails it and nothing else."""
    better = judged(**{CANDIDATE: TRUTH, "recency": TRUTH, CHAMPION: worse(TRUTH, 0.05)})
    assert failed(better) == ["roc_auc beats recency"]
    beaten = judged(**{CANDIDATE: worse(TRUTH, 0.7), "recency": worse(TRUTH, 3.0),
                       CHAMPION: TRUTH})  # fmt: skip
    assert failed(beaten, ALL | {"ece": Gate(max=0.5)}) == ["roc_auc against champion"]
    weak = judged(**{CANDIDATE: worse(TRUTH, 2.0), "recency": worse(TRUTH, 8.0),
                     CHAMPION: worse(TRUTH, 2.0, 5)})  # fmt: skip
    lenient = ALL | {"ece": Gate(max=0.5), "roc_auc": Gate(min=0.75, beats_baseline=True,
                                                           champion_margin=0.1)}  # fmt: skip
    assert failed(weak, lenient) == ["roc_auc floor"]
    flat = judged(**{CANDIDATE: 0.5 + 0.15 * (TRUTH - 0.5), "recency": worse(TRUTH),
                     CHAMPION: worse(TRUTH, 0.05)})  # fmt: skip
    assert failed(flat) == ["ece ceiling"]
    assert failed(gates=ALL | {"mean_probability": Gate(min=0.9)}) == ["mean_probability floor"]
    assert failed(gates=ALL | {"mean_probability": Gate(max=0.1)}) == ["mean_probability ceiling"]
    assert failed(checks={"adds up": (1e-3, 1e-4), "replay": (0.0, 0.0)}) == ["adds up"]


def drawn(metric: str, by: float, spread: float) -> Judged:
    """A candidate whose metric differs from both others' by draws around ``by``."""
    draws = {name: {m: v.copy() for m, v in found.items()} for name, found in GOOD.draws.items()}
    noise = np.linspace(-spread, spread, REPEATS)
    for other in ("recency", CHAMPION):
        draws[CANDIDATE][metric] = draws["recency"][metric] + np.append(by, by + noise)
        draws[other][metric] = draws["recency"][metric]
    return replace(GOOD, draws=draws)


@pytest.mark.parametrize(("metric", "sign"), [("roc_auc", 1.0), ("log_loss", -1.0)])
def test_what_chance_could_explain_does_not_pass(metric: str, sign: float) -> None:
    """The whole interval counts: to be better on average is not enough."""
    beats = {metric: Gate(beats_baseline=True)}
    assert failed(drawn(metric, sign * 0.02, 0.01), beats) == []
    assert failed(drawn(metric, sign * 0.02, 0.05), beats) == [f"{metric} beats recency"]
    keeps = {metric: Gate(champion_margin=0.01)}
    assert failed(drawn(metric, sign * -0.005, 0.001), keeps) == []
    assert failed(drawn(metric, sign * -0.005, 0.02), keeps) == [f"{metric} against champion"]
    assert failed(drawn(metric, sign * 0.02, 0.02), keeps) == []


def test_a_result_that_is_not_a_number_does_not_pass() -> None:
    """NaN fails a floor, a ceiling, a comparison and a check alike."""
    nowhere = judged(**{CANDIDATE: np.zeros(800), "recency": worse(TRUTH), CHAMPION: TRUTH})
    gates = {"precision": Gate(min=0.0, max=1.0, beats_baseline=True, champion_margin=1.0)}
    draws = {a: {m: v.copy() for m, v in found.items()} for a, found in nowhere.draws.items()}
    draws[CANDIDATE]["precision"][:] = np.nan
    broken = replace(nowhere, draws=draws)
    with pytest.warns(RuntimeWarning, match="All-NaN"):
        assert len(failed(broken, gates)) == 4
    assert failed(checks={"replay": (float("nan"), 1e-9)}) == ["replay"]


def test_a_gate_in_dry_run_is_shown_and_stops_nothing() -> None:
    """It fails as the same gate enabled would, and does not count; checks always do."""
    gates = {"roc_auc": Gate(min=0.999, mode="dry_run"), "log_loss": Gate(max=0.001)}
    results = gate_results(gates, GOOD, "recency", "", {"replay": (1.0, 1e-9)})
    assert [r["passed"] for r in results] == [False, False, False]
    assert [r["gate"] for r in stopping(results)] == ["log_loss ceiling", "replay"]


def test_without_a_champion_its_gate_says_why_it_passes() -> None:
    """The note stands where the comparison would."""
    results = gate_results(ALL, GOOD, "recency", "no champion yet", {})
    against = next(r for r in results if r["gate"] == "roc_auc against champion")
    assert against["passed"]
    assert against["found"] == "no champion yet"


@settings(max_examples=20)
@given(st.floats(0, 0.2), st.floats(-0.3, 1.0))
def test_gates_are_monotone(margin: float, floor: float) -> None:
    """What passes a demand passes every weaker one."""
    gates = {"roc_auc": Gate(min=floor, champion_margin=margin)}
    weaker = {"roc_auc": Gate(min=floor - 0.05, champion_margin=margin + 0.05)}
    assert set(failed(gates=weaker)) <= set(failed(gates=gates))


def test_gates_that_ask_nothing_or_for_the_unknown_are_refused() -> None:
    """A gate without a demand and a metric that does not exist are named."""
    with pytest.raises(ConfigError, match="a gate demands something: min, max, beats_baseline"):
        validated(Gate, {}, "gate")
    known = OF_KIND["event"]
    with pytest.raises(ConfigError, match=r"unknown metric\(s\) \['auc', 'gini'\].*roc_auc"):
        check_gates(
            {"auc": Gate(min=0.5), "roc_auc": Gate(min=0.5), "gini": Gate(min=0.1)},
            OF_KIND["event"],
        )
    check_gates(ALL, known)


# --- slices and alarms --------------------------------------------------------------------------


def test_slices_too_small_are_listed_and_not_judged() -> None:
    """Few rows or one class give a line with the reason and no numbers."""
    rows = GOOD.rows
    few = np.arange(800) < 49
    enough = np.arange(800) < 120
    table = slices(
        GOOD, {"few": few, "one class": rows.y == 1, "enough": enough}, REPEATS, seed=1
    ).set_index("slice")
    assert list(table.index) == ["everyone", "few", "one class", "enough"]
    assert table["n"].to_dict() == {
        "everyone": 800, "few": 49, "one class": int(rows.y.sum()), "enough": 120
    }  # fmt: skip
    for name in ("few", "one class"):
        assert table.loc[name, "note"].startswith("not judged: fewer than 50 rows")
        assert table.loc[name].drop(["n", "note"]).isna().all()
    for name in ("everyone", "enough"):
        assert table.loc[name, "note"] == "judged"
        assert table.loc[name, "roc_auc.ci_low"] <= table.loc[name, "roc_auc"]
        assert table.loc[name, "roc_auc"] <= table.loc[name, "roc_auc.ci_high"]
    assert table.loc["everyone", "roc_auc"] == pytest.approx(GOOD.draws[CANDIDATE]["roc_auc"][0])
    assert table.loc["enough", "rate"] == pytest.approx(rows.y[:120].mean())


def test_a_planted_leak_raises_the_alarm() -> None:
    """A column that knows the label is named, also upside down or by its gaps; no honest one."""
    rows, _ = sample()
    assert single_feature_alarm(rows) == []
    noise = np.random.default_rng(1).normal(0, 0.1, len(rows))
    planted = {
        "leak": rows.y + noise,
        "upside_down": -rows.y + noise,
        "missing": np.where(rows.y == 1, np.nan, noise),
    }
    X = rows.X.assign(**planted, empty=np.nan)
    found = dict(single_feature_alarm(Rows(X, rows.y, rows.customers, rows.cutoffs)))
    assert set(found) == set(planted)
    assert all(0.9 < value <= 1.0 for value in found.values())


def test_judging_keeps_frames_as_they_were() -> None:
    """Neither rows nor probabilities are changed by being judged."""
    rows, p = sample()
    X, y, q = rows.X.copy(), rows.y.copy(), p.copy()
    found = judge(rows, {CANDIDATE: p}, {CANDIDATE: 0.5}, REPEATS, seed=1)
    slices(found, {"half": np.arange(800) < 400}, REPEATS, seed=1)
    single_feature_alarm(rows)
    pd.testing.assert_frame_equal(rows.X, X)
    assert np.array_equal(rows.y, y)
    assert np.array_equal(p, q)
