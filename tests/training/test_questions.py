"""Questions from YAML alone: who is asked, what counts, and what is refused before learning."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features import columns as c
from features.canonical import CANONICAL
from features.cutoffs import Moments
from features.errors import ConfigError, DataError
from features.schema import FeatureColumn
from features.settings import Part, Workspace, resolve
from features.sources import load_source
from features.tables import Tables
from tests.worlds import BEGAN, CONFIGS, DAY, line, tables, world
from training.checks import check_horizon, check_labels, check_leaks, check_question
from training.contract import LABEL
from training.pipeline import TASKS
from training.splits import split

NOW = BEGAN + 400 * DAY


def question(use: str = "event.Event", **config: Any) -> Any:
    """A task with a horizon of 60 days."""
    said = {
        "name": "asked", "output": "number", "question": "Within {horizon_days} days?",
        "horizon_days": 60, **config,
    }  # fmt: skip
    return resolve(TASKS, Part(use=use, config=said))


def table(name: str, *rows: dict[str, Any]) -> pa.Table:
    """A canonical table: each row gives what it says, both clocks from ``day``."""
    filled = []
    for number, row in enumerate(rows):
        when = BEGAN + row["day"] * DAY
        clocks = {c.EVENT_TIME: when, c.KNOWN_TIME: when, c.ROW: number}
        blank = dict.fromkeys(CANONICAL[name].arrow.names)
        filled.append({**blank, **clocks, **{k: v for k, v in row.items() if k != "day"}})
    return pa.Table.from_pylist(filled, schema=CANONICAL[name].arrow)


ORDERS = world([
    line(1, BEGAN + 10 * DAY, "1-a", 5_000), line(1, BEGAN + 380 * DAY, "1-b", 5_000),
    line(1, BEGAN + 410 * DAY, "1-c", 2_000), line(1, BEGAN + 420 * DAY, "1-d", 8_000),
    line(1, BEGAN + 425 * DAY, "C1-d", -3_000, -1, ref="1-d"),
    line(2, BEGAN + 100 * DAY, "2-a", 5_000), line(2, BEGAN + 459 * DAY, "2-b", 900),
    line(3, BEGAN + 390 * DAY, "3-a", 700),
])  # fmt: skip
SUBSCRIPTIONS = table(
    "subscriptions",
    {c.CUSTOMER: 1, "day": 50, "subscription_id": "x", c.KIND: "start"},
    {c.CUSTOMER: 1, "day": 300, "subscription_id": "x", c.KIND: "cancel"},
    {c.CUSTOMER: 2, "day": 60, "subscription_id": "y", c.KIND: "start"},
    {c.CUSTOMER: 2, "day": 61, "subscription_id": "z", c.KIND: "start"},
    {c.CUSTOMER: 2, "day": 200, "subscription_id": "y", c.KIND: "cancel"},
    {c.CUSTOMER: 2, "day": 430, "subscription_id": "z", c.KIND: "cancel"},
)
OUTCOMES = table(
    "outcomes",
    {c.CUSTOMER: 1, "day": 410, "name": "left", "value": 1.0},
    {c.CUSTOMER: 2, "day": 415, "name": "left", "value": 1.0},
    {c.CUSTOMER: 2, "day": 420, "name": "left", "value": 0.0},
    {c.CUSTOMER: 3, "day": 470, "name": "left", "value": 1.0},
    {c.CUSTOMER: 3, "day": 410, "name": "other", "value": 1.0},
)
WORLD = {"order_lines": ORDERS, "subscriptions": SUBSCRIPTIONS, "outcomes": OUTCOMES}


def labels(task: Any) -> dict[int, float]:
    """Customer -> label at ``NOW``."""
    opened = tables(WORLD)
    spine = opened.backend.create_table("asked", task.spine(opened.asof([NOW])))
    following = opened.following([NOW], task.horizon_days, task.maturity_days)
    found = opened.backend.to_pyarrow(task.label(spine, following))
    opened.backend.disconnect()
    return dict(zip(found[c.CUSTOMER].to_pylist(), found[LABEL].to_pylist(), strict=True))


CANCELS = {"table": "subscriptions", "where": [{"column": "kind", "equals": "cancel"}]}
ACTIVE = {
    "table": "subscriptions",
    "where": [{"column": "kind", "not_matches": "^cancel$"}],
    "latest_by": ["subscription_id"],
}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {1: 1.0, 2: 1.0, 3: 0.0}),
        ({"absent": True}, {1: 0.0, 2: 0.0, 3: 1.0}),
        ({"at_least": 2}, {1: 1.0, 2: 0.0, 3: 0.0}),
        ({"horizon_days": 59}, {1: 1.0, 2: 0.0, 3: 0.0}),
        ({"where": [{"column": c.AMOUNT, "at_least": 2_000}]}, {1: 1.0, 2: 0.0, 3: 0.0}),
        ({"where": [{"column": c.AMOUNT, "below": 1_000}]}, {1: 0.0, 2: 1.0, 3: 0.0}),
        ({"table": "order_lines", "where": [{"column": c.CHANNEL, "missing": False}]},
         {1: 0.0, 2: 0.0, 3: 0.0}),
        ({"where": [{"column": c.ORDER_REF, "one_of": ["1-c", "3-a"]}]}, {1: 1.0, 2: 0.0, 3: 0.0}),
        ({"where": [{"column": c.ORDER_REF, "matches": "b$"}]}, {1: 0.0, 2: 1.0, 3: 0.0}),
        ({"asked": {"active_within_days": 60}}, {1: 1.0, 3: 0.0}),
        ({"asked": {"lapsed_for_days": 60}}, {2: 1.0}),
        ({"asked": {"lapsed_for_days": 15, "active_within_days": 30}}, {1: 1.0}),
        ({"table": "order_lines", "where": [{"column": c.IS_RETURN, "equals": True}]},
         {1: 1.0, 2: 0.0, 3: 0.0}),
        ({**CANCELS, "asked": ACTIVE}, {2: 1.0}),
        ({**CANCELS, "asked": {"table": "subscriptions"}}, {1: 0.0, 2: 1.0}),
        ({**CANCELS, "asked": {"table": "subscriptions", "within_days": 150}}, {1: 0.0}),
        ({**CANCELS, "asked": {**ACTIVE, "active_within_days": 200}}, {}),
    ],
)  # fmt: skip
def test_events(config: dict[str, Any], expected: dict[int, float]) -> None:
    """Label and population by hand, each with one thing changed."""
    assert labels(question(**config)) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {1: 70.0, 2: 9.0, 3: 0.0}),
        ({"where": [{"column": c.AMOUNT, "at_least": 3_000}]}, {1: 50.0, 2: 0.0, 3: 0.0}),
        ({"column": c.QUANTITY, "unit": "items"}, {1: 1.0, 2: 1.0, 3: 0.0}),
        ({"table": "outcomes", "column": "value", "unit": "points"}, {1: 1.0, 2: 1.0, 3: 1.0}),
    ],
)
def test_amounts(config: dict[str, Any], expected: dict[int, float]) -> None:
    """Sums net of returns in whole units; other columns in their own."""
    assert labels(question("amount.Amount", **config)) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {1: 1.0, 2: 0.0}),  # of two the last; the third comes after the horizon
        ({"absent": 0.0}, {1: 1.0, 2: 0.0, 3: 0.0}),
        ({"horizon_days": 80}, {1: 1.0, 2: 0.0, 3: 1.0}),
        ({"horizon_days": 18}, {1: 1.0, 2: 1.0}),
    ],
)
def test_outcomes(config: dict[str, Any], expected: dict[int, float]) -> None:
    """The value within the window; who has none is not labelled, or what ``absent`` says."""
    assert labels(question("outcome.Outcome", outcome="left", **config)) == expected


@pytest.fixture(scope="module")
def source() -> Any:
    """The source of Online Retail II, which brings order lines alone."""
    place = Workspace.locate(configs=CONFIGS)
    return load_source(place, "online_retail_II", {})


@pytest.mark.parametrize(
    ("use", "config", "said"),
    [
        ("event.Event", {"table": "tickets"},
         "no table 'tickets'; 'online_retail_II' brings orders"),
        ("event.Event", {"table": "subscriptions"}, "no table 'subscriptions'"),
        ("event.Event", {"where": [{"column": "colour", "equals": "red"}]},
         "table 'orders': no column 'colour'; it has order_ref"),
        ("event.Event", {"where": [{"column": c.AMOUNT, "equals": "much"}]},
         "equals of 'amount_minor': it is int64, not string"),
        ("event.Event", {"table": "order_lines", "where": [{"column": c.CHANNEL, "at_least": 3}]},
         "at_least of 'channel': it is string, not a number"),
        ("event.Event", {"asked": {"table": "subscriptions"}}, "asked: no table 'subscriptions'"),
        ("amount.Amount", {"column": "margin"}, "table 'orders': no column 'margin'"),
        ("outcome.Outcome", {"outcome": "left"}, "no table 'outcomes'"),
    ],
)  # fmt: skip
def test_unknown_tables_and_columns_are_refused(
    use: str, config: dict[str, Any], said: str, source: Any
) -> None:
    """Before any data are read, with what there is instead."""
    with pytest.raises(ConfigError) as caught:
        check_question(question(use, **config), source)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"where": [{"column": "x", "equals": 1, "below": 2}]},
        {"where": [{"column": "x"}]},
        {"asked": {"within_days": 3}},
        {"asked": {"table": "orders", "latest_by": []}},
        {"asked": {"active_within_days": 30, "lapsed_for_days": 60}},
        {"question": "Will they?"},
        {"name": "no name"},
        {"at_least": 0},
    ],
)
def test_questions_that_contradict_themselves_are_refused(config: dict[str, Any]) -> None:
    """By the settings alone."""
    with pytest.raises(ConfigError):
        question(**config)


def test_a_horizon_longer_than_the_data_is_refused() -> None:
    """Both lengths are said."""
    with pytest.raises(ConfigError, match="needs 70 days after a cutoff.*the data span 65 days"):
        check_horizon(question(maturity_days=10), BEGAN, BEGAN + 65 * DAY)
    check_horizon(question(), BEGAN, BEGAN + 65 * DAY)


def test_labels_of_another_kind_are_refused() -> None:
    """Amounts are no event, and nothing is no amount."""
    check_labels(np.array([0.0, 1.0]), "event")
    check_labels(np.array([0.0, 3.5]), "amount")
    with pytest.raises(DataError, match="1 labels are not 0 or 1 for an event, such as 3.5"):
        check_labels(np.array([0.0, 3.5]), "event")
    with pytest.raises(DataError, match="not 0 or more for an amount, such as -1"):
        check_labels(np.array([0.0, -1.0]), "amount")


def test_a_feature_that_holds_the_label_is_refused() -> None:
    """A cut of a number, a set of words, or being missing: whatever gives the label exactly."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2 * 1.0
    noise = rng.normal(size=200)
    words = pd.Series(np.where(y == 1, "gone", "here"), dtype="category")
    good = pd.DataFrame({"noise": noise, "near": noise + y * 4, "word": words.sample(frac=1).array})
    check_leaks(good, y, "event")
    leaks = {
        "cut": 3 - y + noise * 0.01, "word": words.array, "known": np.where(y == 1, noise, np.nan)
    }  # fmt: skip
    for name, values in leaks.items():
        with pytest.raises(DataError, match=rf"\['{name}'\] give the label away exactly"):
            check_leaks(good.assign(**{name: values}), y, "event")
    spent = rng.gamma(2, 10, 200)
    check_leaks(good.assign(close=spent + noise), spent, "amount")
    with pytest.raises(DataError, match=r"\['twice'\] give the label away"):
        check_leaks(good.assign(twice=2 * spent), spent, "amount")


class Stored:
    """Stored tables of a world in which every customer has an outcome, a word and an age."""

    end = BEGAN + 900 * DAY

    def __init__(self, doubled: bool = False) -> None:
        rng = np.random.default_rng(5)
        moments = [*MOMENTS.all]
        self.orders = world([line(k, BEGAN + 5 * DAY, f"{k}") for k in range(1, 301)])
        rows = [
            {c.CUSTOMER: k, "day": (t - BEGAN).days + 1, "name": "left",
             "value": float(rng.random() < (0.8 if k % 5 == 0 else 0.2))}
            for t in moments for k in range(1, 281)
        ]  # fmt: skip
        self.outcomes = table("outcomes", *rows)
        self.doubled = doubled

    def open(self, sample: float = 1.0) -> Tables:
        """Connect to the tables."""
        return tables({"order_lines": self.orders, "outcomes": self.outcomes}).sampled(sample)


MOMENTS = Moments(
    tuple(BEGAN + d * DAY for d in (200, 300, 400, 500)), BEGAN + 700 * DAY,
    (BEGAN + 400 * DAY, BEGAN + 500 * DAY),
)  # fmt: skip
COLUMNS = (
    FeatureColumn(name="x", unit="days", meaning="x", missing="never"),
    FeatureColumn(name="plan", dtype="string", unit="category", meaning="plan", missing="none"),
    FeatureColumn(
        name="sex", dtype="string", unit="category", meaning="sex", missing="unsaid",
        sensitivity="audit",
    ),
)  # fmt: skip


def features(stored: Stored) -> pd.DataFrame:
    """Everyone at every cutoff: a number, a word and an audit attribute."""
    people = np.arange(1, 301)
    words = np.array(["b", "a", "c", "d", "rare"], object)[people % 5]
    words[:7] = "odd"
    parts = [
        pd.DataFrame({
            c.CUSTOMER: people, c.CUTOFF: pd.Series([t] * 300, dtype="datetime64[us]"),
            "x": (people * 7 % 31).astype(float), "plan": words,
            "sex": np.where(people % 2 == 0, "f", "m"),
        })
        for t in MOMENTS.all
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_customers_without_a_label_are_dropped_and_counted() -> None:
    """Twenty customers have no outcome: they are in no row, and in the table of splits."""
    stored: Any = Stored()
    task = question("outcome.Outcome", outcome="left", horizon_days=30)
    splits = split(stored, features(stored), task, MOMENTS, COLUMNS)
    assert set(splits.unlabelled.values()) == {20}
    assert set(splits.table()["dropped"]) == {20}
    assert set(splits.table()["rows"]) == {280}
    assert splits.rows.customers.max() == 280


def test_words_get_their_codes_from_teaching_rows_and_audit_columns_stay_aside() -> None:
    """The commonest word first, rare ones together; what is for audit is not among the features."""
    stored: Any = Stored()
    task = question("outcome.Outcome", outcome="left", horizon_days=30)
    table = features(stored)
    only_in_test = (table[c.CUTOFF] == MOMENTS.test) & (table[c.CUSTOMER] == 150)
    table.loc[only_in_test, "plan"] = "new"
    splits = split(stored, table, task, MOMENTS, COLUMNS)
    assert list(splits.rows.X.columns) == ["x", "plan"]
    assert splits.rows.audit is not None
    assert set(splits.rows.audit["sex"]) == {"f", "m"}
    plan = splits.columns[1]
    taught = splits.taught_by(MOMENTS.test)
    counts = taught.X["plan"].value_counts()
    assert set(plan.levels) == {"a", "b", "c", "d", "rare", "odd"}
    assert [counts[w] for w in plan.levels] == sorted(counts, reverse=True)
    assert list(splits.rows.X["plan"].cat.categories) == list(plan.levels)
    test = splits.test
    assert test.X["plan"].isna().to_numpy().tolist() == (test.customers == 150).tolist()


def test_a_sample_asks_the_same_share_of_customers() -> None:
    """Tables and features are of the same customers, or customers without features would remain."""
    stored: Any = Stored()
    for name in ("orders", "outcomes"):
        made = getattr(stored, name)
        spread = pa.array(np.array(made[c.CUSTOMER]) * 3_333)
        place = made.column_names.index(c.CUSTOMER)
        setattr(stored, name, made.set_column(place, c.CUSTOMER, spread))
    task = question(absent=True, horizon_days=30)
    some = features(stored)
    some[c.CUSTOMER] *= 3_333
    some = some[some[c.CUSTOMER] % 1_000_000 < 500_000]
    with pytest.raises(DataError, match="all with label 1"):
        split(stored, some, task, MOMENTS, COLUMNS, sample=0.5)


def test_who_is_asked_twice_is_refused() -> None:
    """A spine with doubled keys is an error of the question, and said so."""
    stored: Any = Stored()
    task = question("outcome.Outcome", outcome="left", horizon_days=30)
    once = task.spine
    task.spine = lambda view: once(view).union(once(view))
    with pytest.raises(DataError, match="customers are asked twice at one cutoff"):
        split(stored, features(stored), task, MOMENTS, COLUMNS)


def test_too_few_of_a_class_are_refused() -> None:
    """A rate near 0 teaches nothing: the block, the count and what to change are said."""
    stored: Any = Stored()
    values = np.array(stored.outcomes["value"]) * 0
    values[::400] = 1.0
    stored.outcomes = stored.outcomes.set_column(
        stored.outcomes.column_names.index("value"), "value", pa.array(values)
    )
    task = question("outcome.Outcome", outcome="left", horizon_days=30)
    with pytest.raises(DataError, match="of 280 rows with label 1, at least 3 are needed; change"):
        split(stored, features(stored), task, MOMENTS, COLUMNS)
