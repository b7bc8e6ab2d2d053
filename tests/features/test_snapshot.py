"""Cutoffs that fit the data, sets that keep to what they declare, tables that repeat to the bit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import columns as c
from features import passes, snapshot
from features.compute import Chosen, arrow_schema, checked, compute, declared
from features.cutoffs import Cutoffs
from features.errors import ConfigError, DataError
from features.identity import KEY_FILE
from features.passes import Passes
from features.profile import profile
from features.schema import FeatureColumn
from features.settings import Strict, Workspace, load_yaml
from features.snapshot import (
    FeaturePart,
    FeaturePlan,
    build_features,
    feature_sets,
    read_features,
    read_schema,
    sets_of,
    united,
)
from features.store import Published
from features.tables import Stored
from features.views import View
from tests.contracts.feature_sets import default
from tests.worlds import (
    BEGAN,
    CONFIGS,
    DAY,
    ROOT,
    as_bytes,
    built,
    computed,
    good,
    line,
    random_world,
    raw,
    tables,
    world,
    write_raw,
)

MOMENT = pa.timestamp("us")
FIRST, END = datetime(2010, 1, 1, 9), datetime(2011, 1, 1)

# --- cutoffs --------------------------------------------------------------------------------


def cutoffs(**values: Any) -> Cutoffs:
    """Two teaching cutoffs, one of them for validation, unless ``values`` say otherwise."""
    plain = {"test": "end-90d", "latest": "end-180d", "count": 2, "folds": 1}
    return Cutoffs.model_validate({**plain, **values})


def test_moments_of_dates_and_of_the_end() -> None:
    """A date is its midnight, ``end-90d`` counts from the source's end; teaching goes upwards."""
    moments = cutoffs(latest=date(2010, 7, 5), every_days=30, count=3).resolved(FIRST, END)
    assert moments.test == datetime(2010, 10, 3)
    assert moments.teaching == (datetime(2010, 5, 6), datetime(2010, 6, 5), datetime(2010, 7, 5))
    assert moments.folds == (datetime(2010, 7, 5),)
    assert moments.all == (*moments.teaching, moments.test)
    assert cutoffs(test="end", latest="end-1d").resolved(FIRST, END).test == END


def test_dates_as_text_are_dates() -> None:
    """A date from YAML and the same date from the command line are one."""
    typed = cutoffs(test=date(2010, 10, 1), latest=date(2010, 6, 1))
    text = cutoffs(test="2010-10-01", latest="2010-06-01")
    assert typed.resolved(FIRST, END) == text.resolved(FIRST, END)


def test_folds_and_the_year_before() -> None:
    """Folds count back from the latest cutoff; the year before is there where the data reach."""
    plan = cutoffs(test=date(2011, 8, 1), latest=date(2011, 5, 1), count=8, folds=3, fold_steps=2)
    moments = plan.resolved(datetime(2010, 1, 1), datetime(2011, 9, 1))
    latest = datetime(2011, 5, 1)
    assert moments.folds == (latest - 120 * DAY, latest - 60 * DAY, latest)
    assert moments.year_ago == {
        latest: datetime(2010, 5, 1),
        datetime(2011, 8, 1): datetime(2010, 8, 1),
    }  # at the folds before it, less than 90 days of history would be left
    assert moments.all == tuple(
        sorted({*moments.teaching, moments.test, *moments.year_ago.values()})
    )


@pytest.mark.parametrize("moment", ["soon", "end-", "end-5", "end+5d", "End-5d", "2010-02-30", ""])
def test_unreadable_moment(moment: str) -> None:
    """A moment that is neither a date nor relative to the end is named with an example."""
    with pytest.raises(ConfigError, match="expected a date without a zone, or end-<days>d"):
        cutoffs(test=moment).resolved(FIRST, END)


@pytest.mark.parametrize(
    "odd",
    [{"test": "2010-10-01T00:00:00+00:00"}, {"every_days": 10**6}],
    ids=["a zone", "before the calendar"],
)
def test_odd_moments_are_refused_by_name(odd: dict[str, Any]) -> None:
    """Cutoffs that cannot be compared or counted are an error about cutoffs."""
    with pytest.raises(ConfigError, match="cutoff"):
        cutoffs(**odd).resolved(FIRST, END)


def test_all_that_does_not_fit_is_said_at_once() -> None:
    """Order, end, folds and history are checked together."""
    with pytest.raises(ConfigError) as caught:
        cutoffs(test=date(2012, 1, 1), latest=date(2012, 2, 1), count=40, folds=40).resolved(
            FIRST, END
        )
    message = str(caught.value)
    assert "40 folds 3 cutoffs apart leave nothing to learn from among 40" in message
    assert "cutoffs.latest 2012-02-01 must lie before cutoffs.test 2012-01-01" in message
    assert "cutoffs.test 2012-01-01 lies after the data's end 2011-01-01" in message
    assert "the data begin 2010-01-01; set cutoffs.count to 23 or less" in message


@given(
    span=st.integers(30, 900),
    ahead=st.integers(-20, 400),
    gap=st.integers(-5, 200),
    every=st.integers(1, 90),
    count=st.integers(2, 40),
    history=st.integers(1, 200),
    folds=st.integers(1, 5),
    steps=st.integers(1, 4),
)
def test_cutoffs_fit_or_say_which_would(
    span: int, ahead: int, gap: int, every: int, count: int, history: int, folds: int, steps: int
) -> None:
    """Resolved cutoffs keep all promises; too many ask for a count that works."""
    end = FIRST.replace(hour=0) + span * DAY
    test = end - ahead * DAY
    latest = test - gap * DAY
    plan = cutoffs(
        test=test.date(),
        latest=latest.date(),
        every_days=every,
        count=count,
        history_days=history,
        folds=folds,
        fold_steps=steps,
    )
    try:
        moments = plan.resolved(FIRST, end)
        message = ""
    except ConfigError as error:
        message = str(error)
    if not message:
        expected = tuple(latest - k * every * DAY for k in reversed(range(count)))
        assert moments.teaching == expected
        assert moments.teaching[0] - history * DAY >= FIRST
        assert moments.teaching[-1] == latest < moments.test == test <= end
        assert moments.folds == expected[::-1][::steps][:folds][::-1]
        assert moments.teaching[0] < moments.folds[0]
        for later, before in moments.year_ago.items():
            assert later in (*moments.folds, moments.test)
            assert before == later - 365 * DAY >= FIRST + history * DAY
        assert list(moments.all) == sorted(set(moments.all))
    elif "set cutoffs.count to" in message:
        fits = int(message.split("set cutoffs.count to ")[1].split()[0])
        assert 2 <= fits < count
        assert latest - (fits - 1) * every * DAY - history * DAY >= FIRST
        assert latest - fits * every * DAY - history * DAY < FIRST
    elif "set cutoffs.history_days" in message:
        assert latest - every * DAY - history * DAY < FIRST
    else:
        assert gap <= 0 or ahead < 0 or "nothing to learn from" in message


def test_history_for_no_cutoffs_is_not_answered_by_a_count() -> None:
    """Where even two cutoffs do not fit, the remedy is another one."""
    with pytest.raises(ConfigError) as caught:
        cutoffs(test="end", latest=date(2010, 3, 1), count=5).resolved(FIRST, END)
    assert "cutoffs.count to 0" not in str(caught.value)


# --- sets that break their word -------------------------------------------------------------


class Nothing(Strict):
    """Nothing to set."""


class Given:
    """A set with the columns ``names``, built by ``build``."""

    config: Nothing

    reads = ("order_lines",)

    def __init__(self, build: Callable[[View], ir.Table], *names: str, **column: Any) -> None:
        self.config = Nothing()
        self.build = build
        self.names, self.column = names, column

    def columns(self) -> list[FeatureColumn]:
        """The declared columns."""
        fields = {"unit": "days", "meaning": "a test", "missing": "no order", **self.column}
        return [FeatureColumn(name=name, **fields) for name in self.names]


def values(view: View, **columns: float) -> ir.Table:
    """A row for every customer with the same values."""
    return view.customers.mutate(**{n: ibis.literal(v, "float64") for n, v in columns.items()})


WORLD = world([line(1, "2010-01-01", "a"), line(2, "2010-01-02", "b"), line(3, "2010-06-01", "c")])
CUTOFF = datetime(2010, 3, 1)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            Given(lambda view: values(view, g__a=1.0, g__b=2.0), "g__a", "g__c"),
            r"feature set Given: columns \['g__b', 'g__c'\] are declared and not built",
        ),
        (
            Given(lambda view: values(view, g__a=1.0).union(values(view, g__a=2.0)), "g__a"),
            "2 doubled keys: the spine, or one of Given, has more than one row",
        ),
        (
            Given(
                lambda view: values(view, g__a=1.0).mutate(customer_id=ibis._.customer_id + 1),
                "g__a",
            ),
            "feature set Given: 1 rows of unknown customers",
        ),
        (
            Given(
                lambda view: values(view, g__a=1.0).mutate(
                    cutoff=ibis._.cutoff + ibis.interval(days=1)
                ),
                "g__a",
            ),
            "feature set Given: 2 rows of unknown customers",
        ),
        (
            Given(lambda view: values(view, g__a=float("inf")), "g__a"),
            "column 'g__a' has 2 infinite and 0 NaN values",
        ),
        (
            Given(lambda view: values(view, g__a=float("nan")), "g__a"),
            "column 'g__a' has 0 infinite and 2 NaN values",
        ),
    ],
    ids=["columns", "doubled", "unknown customer", "unknown cutoff", "infinite", "nan"],
)
def test_set_that_breaks_its_word(part: Given, message: str) -> None:
    """A set that returns other columns, keys or values than it may is named, and not used."""
    with pytest.raises(DataError, match=message):
        computed([part], WORLD, [CUTOFF])


def test_rows_that_a_set_leaves_out_are_filled() -> None:
    """A customer without a row of the set gets what each column declares."""

    def first_only(view: View) -> ir.Table:
        return values(view, g__a=1.0).filter(ibis._.customer_id == 1)

    found = computed([Given(first_only, "g__a", fill=0.0)], WORLD, [CUTOFF])
    assert found["g__a"].to_pylist() == [1.0, 0.0]
    found = computed([Given(first_only, "g__a")], WORLD, [CUTOFF])
    assert found["g__a"].to_pylist() == [1.0, None]


def test_set_listed_twice() -> None:
    """Columns that two sets declare are refused by name, before anything is built."""
    rfm = default("rfm.Rfm")
    with pytest.raises(ConfigError, match="rfm__recency_days.* declared twice; list each set once"):
        declared([rfm, default("orders.Orders"), rfm])
    assert [column.name for column in declared([rfm])] == [k.name for k in rfm.columns()]


def test_sets_of_one_class_name() -> None:
    """Two sets whose classes are called alike in different files do not touch each other."""
    one = Given(lambda view: values(view, g__a=1.0), "g__a")
    two = Given(lambda view: values(view, h__a=2.0), "h__a")
    found = computed([one, two], WORLD, [CUTOFF])
    assert found.select(["g__a", "h__a"]).to_pylist() == [{"g__a": 1.0, "h__a": 2.0}] * 2


# --- the table ------------------------------------------------------------------------------


def test_table_is_ordered_and_typed() -> None:
    """Rows by cutoff and customer, columns by set and declaration, no more and no less."""
    parts = [default("orders.Orders"), default("rfm.Rfm")]
    moments = [BEGAN + days * DAY for days in (700, 300)]
    found = computed(parts, random_world(1, customers=20), moments)
    keys = [(row[c.CUTOFF], row[c.CUSTOMER]) for row in found.to_pylist()]
    assert keys == sorted(set(keys))
    assert {cutoff for cutoff, _ in keys} == set(moments)
    assert found.schema.equals(arrow_schema(declared(parts)))
    other = computed(parts[::-1], random_world(1, customers=20), moments)
    assert as_bytes(other.select(found.column_names)) == as_bytes(found)


def test_nobody_is_known_yet() -> None:
    """At a cutoff before all rows the table is empty and has its columns."""
    part = default("rfm.Rfm")
    found = computed([part], WORLD, [datetime(2009, 1, 1)])
    assert found.num_rows == 0
    assert found.schema.equals(arrow_schema(part.columns()))


def test_profile_is_what_numpy_says() -> None:
    """Shares, moments and deciles of the profile, by a second way."""
    numbers = [None, 4.0, 1.0, 1.0, 9.0, 2.5, None, 0.0, 7.0]
    empty = pa.array([None] * 9, pa.float64())
    table = pa.table({c.CUSTOMER: range(9), "g__a": pa.array(numbers), "g__b": empty})
    part = Given(lambda view: view.order_lines, "g__a", "g__b")
    a, b = profile(table, part.columns(), "2010-03-01")
    assert a["cutoff"] == "2010-03-01"
    known = np.array([v for v in numbers if v is not None])
    assert (a["name"], a["rows"], a["missing"]) == ("g__a", 9, 2 / 9)
    assert (a["min"], a["max"]) == (0.0, 9.0)
    assert a["mean"] == pytest.approx(known.mean())
    assert a["sd"] == pytest.approx(known.std())
    for k in range(1, 10):
        assert a[f"p{k}0"] == pytest.approx(np.quantile(known, k / 10))
    assert (b["missing"], b["mean"], b["min"]) == (1.0, None, None)


# --- publishing -----------------------------------------------------------------------------

PLAN = FeaturePlan(
    data="online_retail_II",
    cutoffs=cutoffs(test="end-10d", latest="end-100d", count=3),
    features=(
        FeaturePart(use="rfm.Rfm"),
        FeaturePart(use="orders.Orders", columns=("orders__orders_30d", "orders__spend_total")),
    ),
)
RECORDS = [*good(300), *[raw(f"C{k}", "13001.0", "2010-08-01 10:00:00", quantity=-1) for k in "12"]]


def features(place: Workspace, stored: Stored, plan: FeaturePlan) -> Published:
    """The published feature table of ``plan``."""
    return build_features(place, stored, plan, plan.cutoffs.resolved(stored.first, stored.end))


@pytest.mark.usefixtures("reader_here")
def test_features_are_published_once(place: Workspace) -> None:
    """Table, schema and profile are published; the same again is recognised, another is not."""
    stored = built(place, RECORDS)
    made = features(place, stored, PLAN)
    assert made.fresh
    table = read_features(made.folder)
    moments = PLAN.cutoffs.resolved(stored.first, stored.end)
    opened = stored.open()
    expected = compute(opened.backend, opened.asof(moments.all), feature_sets(PLAN))
    opened.backend.disconnect()
    assert as_bytes(table) == as_bytes(expected)
    assert read_schema(made.folder) == declared(feature_sets(PLAN))
    profiled = json.loads((made.folder / "profile.json").read_text())
    assert [(row["cutoff"], row["name"]) for row in profiled] == [
        (f"{t:%Y-%m-%d}", column.name)
        for t in moments.all
        for column in declared(feature_sets(PLAN))
    ]
    facts = made.manifest["facts"]
    assert facts["rows"] == table.num_rows == 4 * 7
    assert facts["columns"] == table.num_columns - 2
    assert facts["tables"] == stored.published.content
    assert facts["cutoffs"] == [f"{t:%Y-%m-%d}" for t in moments.all]

    assert not features(place, stored, PLAN).fresh
    wider = FeaturePart(use="orders.Orders", columns=("orders__orders_90d",))
    changed = PLAN.model_copy(update={"features": (PLAN.features[0], wider)})
    later = PLAN.cutoffs.model_copy(update={"test": "end-9d"})
    for plan in (changed, PLAN.model_copy(update={"cutoffs": later})):
        other = features(place, stored, plan)
        assert other.fresh
        assert other.content != made.content


@pytest.mark.usefixtures("reader_here")
def test_nothing_is_published_of_a_bad_plan(place: Workspace) -> None:
    """A set listed twice leaves no trace in the store."""
    stored = built(place, RECORDS)
    doubled = PLAN.model_copy(update={"features": (PLAN.features[0], PLAN.features[0])})
    with pytest.raises(ConfigError, match="declared twice"):
        features(place, stored, doubled)
    assert not (place.store / "features").exists()


@pytest.mark.usefixtures("reader_here")
def test_one_more_cutoff_computes_that_one_alone(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are found again; after an interruption the build goes on at the first that is not."""
    stored = built(place, RECORDS)
    features(place, stored, PLAN)
    asked: list[datetime] = []
    computed = Passes.computed

    def counted(self: Passes, cutoffs: Sequence[datetime]) -> Callable[[], pa.Table]:
        asked.extend(cutoffs)
        return computed(self, cutoffs)

    monkeypatch.setattr(Passes, "computed", counted)
    test = PLAN.cutoffs.model_copy(update={"test": "end-9d"})
    later = features(place, stored, PLAN.model_copy(update={"cutoffs": test}))
    assert asked == [stored.end - 9 * DAY]
    assert len(list(later.folder.glob("features-*.parquet"))) == 4


@pytest.mark.usefixtures("reader_here")
def test_cutoffs_of_several_passes_are_those_of_one(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few cutoffs a pass may hold, the same bytes are published."""
    stored = built(place, RECORDS)
    whole = features(place, stored, PLAN)
    monkeypatch.setattr(snapshot, "ROWS_A_PASS", 1)
    other = place.model_copy(update={"store": place.store / "again"})
    assert features(other, stored, PLAN).content == whole.content


@pytest.mark.usefixtures("reader_here")
def test_a_pass_that_breaks_its_word_is_not_published(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass is checked while the next is computed; what came before the broken one stays."""
    stored = built(place, RECORDS)
    monkeypatch.setattr(snapshot, "ROWS_A_PASS", 1)
    tables: list[pa.Table] = []

    def broken(result: pa.Table, *made: Any) -> pa.Table:
        tables.append(result)
        if len(tables) == 2:
            raise DataError("the second pass breaks its word")
        return checked(result, *made)

    monkeypatch.setattr(passes, "checked", broken)
    with pytest.raises(DataError, match="the second pass"):
        features(place, stored, PLAN)
    assert len([*place.store.glob("features/*/parts/*/manifest.json")]) == 1
    assert not [*place.store.glob("features/*/*/manifest.json")]


@pytest.mark.usefixtures("reader_here")
def test_what_does_not_fit_the_source_is_said_at_once(place: Workspace) -> None:
    """Tables that are not brought and windows beyond the data: set, table, column, remedy."""
    stored = built(place, RECORDS)
    parts = (FeaturePart(use="orders.Orders"), FeaturePart(use="engagement.Engagement"))
    with pytest.raises(ConfigError) as caught:
        features(place, stored, PLAN.model_copy(update={"features": parts}))
    for text in (
        "orders.Orders: ", "look back further than the", "orders__orders_365d",
        "engagement.Engagement reads events", "optional: true",
    ):  # fmt: skip
        assert text in str(caught.value)
    assert not (place.store / "features").exists()


@pytest.mark.usefixtures("reader_here")
def test_an_optional_set_is_missing_where_its_table_is(place: Workspace) -> None:
    """Nothing could be observed: missing, not zero."""
    stored = built(place, RECORDS)
    parts = (PLAN.features[0], FeaturePart(use="engagement.Engagement", optional=True))
    made = features(place, stored, PLAN.model_copy(update={"features": parts}))
    table = read_features(made.folder)
    assert table["engagement__visits_7d"].null_count == table.num_rows > 0


@pytest.mark.usefixtures("reader_here")
def test_a_sample_is_a_share_of_the_customers(place: Workspace) -> None:
    """The same customers every time, with the values that they have among all."""
    place.keys.mkdir(parents=True)
    (place.keys / KEY_FILE).write_bytes(bytes(32))  # with another key the few may all be left out
    stored = built(place, RECORDS)
    whole = read_features(features(place, stored, PLAN).folder)
    some = read_features(features(place, stored, PLAN.model_copy(update={"sample": 0.5})).folder)
    chosen = set(some[c.CUSTOMER].to_pylist())
    assert 0 < len(chosen) < len(set(whole[c.CUSTOMER].to_pylist()))
    assert all(customer % 1_000_000 < 500_000 for customer in chosen)
    among = whole.filter(pc.is_in(whole[c.CUSTOMER], pa.array(sorted(chosen))))
    assert as_bytes(among) == as_bytes(some)


def test_columns_chosen_are_those_of_the_whole_set() -> None:
    """What is left out changes no bit of what is kept; an unknown name is refused."""
    lines = random_world(3, customers=40)
    moments = [BEGAN + days * DAY for days in (500, 800)]
    for use, names in {
        "orders.Orders": ("orders__spend_30d", "orders__last_over_mean", "orders__season_spend"),
        "cadence.Cadence": ("cadence__gap_median_days", "cadence__gap_sd_days"),
        "assortment.Assortment": ("assortment__products_365d",),
    }.items():
        whole = computed([default(use)], lines, moments)
        some = computed([Chosen(default(use), names)], lines, moments)
        assert as_bytes(some) == as_bytes(whole.select(some.column_names))
        assert some.column_names[2:] == [n for n in whole.column_names if n in names]
    with pytest.raises(ConfigError, match="columns \\['orders__x'\\] are unknown; it has orders__"):
        Chosen(default("orders.Orders"), ("orders__x",))


def test_a_spine_asks_for_some_customers() -> None:
    """Answers for those asked about alone; asking twice is refused."""
    opened = tables(WORLD)
    view = opened.asof([CUTOFF])
    sets = [default("rfm.Rfm")]
    asked = ibis.memtable(pa.table({c.CUSTOMER: [2], c.CUTOFF: pa.array([CUTOFF], MOMENT)}))
    found = compute(opened.backend, view, sets, spine=asked)
    assert found[c.CUSTOMER].to_pylist() == [2]
    assert found["rfm__T_days"].to_pylist() == [58.0]
    with pytest.raises(DataError, match="1 doubled keys: the spine"):
        compute(opened.backend, view, sets, spine=asked.union(asked))
    opened.backend.disconnect()


BUILD = """
import sys
from pathlib import Path
from features.settings import Workspace
from features.tables import build_tables
from tests.features.test_snapshot import PLAN, features
from tests.worlds import source
store, data, configs = map(Path, sys.argv[1:])
place = Workspace.locate(store=store, data=data, configs=configs)
stored = build_tables(place, source(place))
print(stored.published.content, features(place, stored, PLAN).content)
"""


def test_processes_agree_to_the_bit(place: Workspace, tmp_path: Path) -> None:
    """Other processes, hash seeds and numbers of threads publish the same bytes."""
    assert place.data is not None
    write_raw(place.data / "online_retail_II.csv", RECORDS)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(tmp_path / seed), str(place.data), str(CONFIGS)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PERENNIAL_THREADS": seed},
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    contents = [child.communicate()[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


def test_pipelines_share_one_publication_where_their_sets_agree() -> None:
    """Sets of all, once; columns are those of either; other settings or data are refused."""

    def plan(*parts: FeaturePart, data: str = "simulated") -> FeaturePlan:
        cutoffs = Cutoffs(test="end-60d", latest="end-120d", every_days=60, count=2)
        return FeaturePlan(data=data, cutoffs=cutoffs, features=parts)

    some = FeaturePart(use="rfm.Rfm", columns=("rfm__recency_days",))
    more = FeaturePart(use="rfm.Rfm", columns=("rfm__frequency_orders", "rfm__recency_days"))
    orders = FeaturePart(use="orders.Orders", optional=True)
    both = united([plan(some), plan(more, orders)])
    assert [part.use for part in both.features] == ["rfm.Rfm", "orders.Orders"]
    assert set(both.features[0].columns) == {"rfm__recency_days", "rfm__frequency_orders"}
    assert united([plan(some), plan(FeaturePart(use="rfm.Rfm"))]).features[0].columns == ()
    assert not united([plan(orders), plan(FeaturePart(use="orders.Orders"))]).features[0].optional
    less = FeaturePart(use="rfm.Rfm", without=("rfm__recency_days",))
    left = united([plan(less), plan(less)]).features[0].columns
    assert left == tuple(k.name for k in feature_sets(plan(less))[0].columns())
    assert "rfm__recency_days" not in left
    assert set(united([plan(less), plan(some)]).features[0].columns) == {*left, *some.columns}
    assert united([plan(less), plan(FeaturePart(use="rfm.Rfm"))]).features[0].columns == ()
    other = FeaturePart(use="orders.Orders", config={"season_days": 30})
    with pytest.raises(ConfigError, match=r"orders.Orders: used with different settings"):
        united([plan(orders), plan(other)])
    with pytest.raises(ConfigError, match="data: 'telco_churn' and 'simulated'"):
        united([plan(orders), plan(orders, data="telco_churn")])


def test_columns_left_out_are_known_and_not_all() -> None:
    """A name that is not there, or nothing left, is refused with what there is."""
    with pytest.raises(ConfigError, match=r"rfm.Rfm, without: columns \['rfm__x'\].*rfm__recency"):
        sets_of([FeaturePart(use="rfm.Rfm", without=("rfm__x",))])
    one = ("rfm__recency_days",)
    with pytest.raises(ConfigError, match=r"rfm.Rfm, without: no column is left"):
        sets_of([FeaturePart(use="rfm.Rfm", columns=one, without=one)])


def test_the_pipelines_of_the_demo_share_one_publication() -> None:
    """``make demo`` publishes the profiles of all its pipelines together."""
    root = Path(__file__).parents[2]
    makefile = (root / "Makefile").read_text()
    names = next(line for line in makefile.splitlines() if line.startswith("PIPELINES ?= "))
    fields, plans = set(FeaturePlan.model_fields), []
    for name in names.removeprefix("PIPELINES ?= ").split():
        values = load_yaml(root / "configs" / f"{name}.yaml")
        plans.append(FeaturePlan(**{k: v for k, v in values.items() if k in fields}))
    assert len(plans) > 1
    assert united(plans).features
