"""The leakage kit: what it changes, finds, publishes and refuses; every check has teeth."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from features import columns as c
from features.__main__ import app
from features.compute import FeatureSet
from features.errors import DataError
from features.leakage import worlds
from features.leakage.canary import LEAKS
from features.leakage.checks import CHECKS, findings
from features.leakage.kit import Kit, bits
from features.leakage.report import examine, read_checks
from features.leakage.worlds import World
from features.sets.rfm import Rfm
from features.settings import Part, Workspace, resolve
from features.snapshot import SETS
from tests.channel_worlds import known_before, random_channels, row, world_of
from tests.worlds import BEGAN, CONFIGS, DAY, good, write_raw

CUTOFFS = tuple(BEGAN + days * DAY for days in (150, 400, 600))
LAST = CUTOFFS[-1]
Change = Callable[[World, datetime], World]
NAMES = ("order_lines", "events", "products", "customers")


def rfm() -> FeatureSet:
    """An honest set."""
    made: FeatureSet = resolve(SETS, Part(use="rfm.Rfm"))
    return made


@pytest.fixture(scope="module")
def world() -> World:
    """A few random channels."""
    tables = random_channels(seed=2, customers=25, days=700)
    return World({name: tables[name] for name in NAMES}, dict.fromkeys(NAMES, BEGAN))


# --- changed worlds ---------------------------------------------------------------------------


def without_number(table: pa.Table) -> list[dict[str, object]]:
    """Rows in an order of their own, without their numbers."""
    rows = table.drop_columns([c.ROW]).to_pylist()
    return sorted(rows, key=lambda values: repr(sorted(values.items())))


@pytest.mark.parametrize("change", [worlds.later_rows, worlds.late_news])
@pytest.mark.parametrize("name", NAMES)
def test_the_known_past_stays(change: Change, name: str, world: World) -> None:
    """Rows that were known at the last cutoff stay as they were; others become different ones."""
    changed = change(world, LAST).tables[name]
    before = known_before(world.tables[name], LAST)
    assert without_number(known_before(changed, LAST)) == without_number(before)
    assert without_number(changed) != without_number(world.tables[name])
    assert changed.num_rows > before.num_rows


def test_later_rows_change_the_event_clock_alone(world: World) -> None:
    """Half of what is added happens at the cutoff itself and was announced before."""
    added = worlds.later_rows(world, LAST).tables["events"]
    at_cutoff = added.filter(pc.equal(added[c.EVENT_TIME], pa.scalar(LAST, pa.timestamp("us"))))
    assert at_cutoff.num_rows > 10
    assert pc.max(at_cutoff[c.KNOWN_TIME]).as_py() < LAST


def test_late_news_change_the_known_clock_alone(world: World) -> None:
    """What is added happened before the cutoff and is learned at it or later."""
    changed = worlds.late_news(world, LAST).tables["events"]
    at_last = pa.scalar(LAST, pa.timestamp("us"))
    late = changed.filter(pc.greater_equal(changed[c.KNOWN_TIME], at_last))
    assert late.num_rows > 10
    assert pc.max(late[c.EVENT_TIME]).as_py() < LAST
    assert pc.min(late[c.KNOWN_TIME]).as_py() == LAST


def test_shuffling_keeps_the_sequence_of_ties() -> None:
    """Rows of equal clocks stay in their order, others do not; every number is another."""
    days = [f"2010-01-{day:02d}" for day in (1, 1, 1, 2, 3, 4, 5, 6, 7, 8)]
    given = world_of(events=[row("events", n, day) for n, day in enumerate(days)])
    found = worlds.shuffled(World(given, {})).tables["events"]
    number = dict(zip(found[c.CUSTOMER].to_pylist(), found[c.ROW].to_pylist(), strict=True))
    assert number[0] < number[1] < number[2]
    assert sorted(number, key=number.__getitem__) != list(range(10))
    assert all(number[n] != n for n in number)
    assert found[c.CUSTOMER].to_pylist() != list(range(10))


def test_another_time_moves_every_date() -> None:
    """Clocks, other timestamps and years move by 28 years; weekday and date stay."""
    given = world_of(
        customers=[row("customers", 1, "2012-02-29", signup_time=BEGAN, birth_year=1980)]
    )
    moved = worlds.another_time(World(given, {"customers": BEGAN}))
    found = moved.tables["customers"].to_pylist()[0]
    assert found[c.EVENT_TIME] == datetime(2040, 2, 29)
    assert found[c.EVENT_TIME].weekday() == datetime(2012, 2, 29).weekday()
    assert found["signup_time"] == datetime(BEGAN.year + 28, BEGAN.month, BEGAN.day)
    assert found["birth_year"] == 1980 + worlds.YEARS
    assert moved.began["customers"].year == BEGAN.year + 28


# --- the kit ----------------------------------------------------------------------------------


def test_statements_said_again_give_what_computing_gives(world: World) -> None:
    """The quick way to another world and the slow one agree to the last bit."""
    kit = Kit(world, CUTOFFS, {"rfm.Rfm": rfm()}, threads=1)
    other = worlds.of_customers(world, range(1, 9))
    quick = kit.in_other(other)["rfm.Rfm"]
    slow = kit.at(CUTOFFS, other)["rfm.Rfm"]
    kit.close()
    assert isinstance(quick, pa.Table)
    assert isinstance(slow, pa.Table)
    assert quick.equals(slow)
    assert quick.num_rows < 9 * len(CUTOFFS) + len(CUTOFFS) + 1


def test_bits_tell_apart_what_equality_does_not() -> None:
    """0.0 and -0.0 differ, missing values agree, words are words."""
    one, other = (pa.chunked_array([[zero, None, 1.5]]) for zero in (0.0, -0.0))
    assert (bits(one) != bits(other)).tolist() == [True, False, False]
    words = pa.chunked_array([["a", None]])
    assert np.array_equal(bits(words), bits(words))


def test_every_check_has_a_leak_to_catch(world: World) -> None:
    """An honest set passes, and every leak planted beside it is caught."""
    report = examine(world, CUTOFFS, {"rfm.Rfm": rfm()})
    assert report.passed, report.verdict
    assert {f.check for f in report.findings} == set(CHECKS)
    assert set(LEAKS) < set(CHECKS)
    assert report.missed == ()
    assert f"{len(CHECKS)} of {len(CHECKS)} caught" in report.verdict[1]
    assert [entry["passed"] for entry in report.by_set()] == [f"{len(CHECKS)} of {len(CHECKS)}"]


def test_a_check_without_teeth_fails_the_report(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that finds nothing wrong with the planted leak is reported as missed."""
    monkeypatch.setitem(CHECKS, "one_pass", lambda kit: dict.fromkeys(kit.sets, ""))
    report = examine(world, CUTOFFS, {"rfm.Rfm": rfm()})
    assert report.missed == ("one_pass",)
    assert not report.passed
    assert "missed by one_pass" in report.verdict[1]


def test_a_set_without_its_table_is_not_read(world: World) -> None:
    """What the source does not bring cannot be checked, and is named."""
    lines = World({"events": world.tables["events"]}, {"events": world.began["events"]})
    report = examine(lines, CUTOFFS, {"rfm.Rfm": rfm()})
    verdicts = {f.check: f.verdict for f in report.findings}
    assert verdicts.pop("declared_columns") == "passed"
    assert set(verdicts.values()) == {"not read"}
    assert "lacks tables: rfm.Rfm" in report.verdict[-1]


def test_broken_sets_are_told_apart(world: World) -> None:
    """A set that cannot be computed fails alone."""

    class Broken:
        reads = ("order_lines",)
        config = None

        def columns(self) -> list[object]:
            return []

        def build(self, view: object) -> object:
            raise ValueError("no such thing")

    kit = Kit(world, CUTOFFS, {"rfm.Rfm": rfm(), "broken": Broken()})  # type: ignore[dict-item]
    found = {f.set: f for f in findings(kit, "row_order")}
    kit.close()
    assert found["rfm.Rfm"].verdict == "passed"
    assert found["broken"].verdict == "failed"
    assert "no such thing" in found["broken"].found


def test_nothing_to_check_on() -> None:
    """Tables without customers are refused."""
    with pytest.raises(DataError, match="nothing to check on"):
        examine(World({}, {}), CUTOFFS, {})


# --- the command ------------------------------------------------------------------------------

CUT = "{test: end-60d, latest: end-120d, count: 3, every_days: 30, history_days: 30, folds: 1}"
CHECK = [
    "check", str(CONFIGS / "churn.yaml"), "--set", "data=online_retail_II",
    "--set", f"cutoffs={CUT}", "--set", "features=[{use: rfm.Rfm}]",
]  # fmt: skip


@pytest.fixture
def checked(place: Workspace, reader_here: None) -> list[str]:
    """The words of the command, on a raw file of few customers."""
    assert place.data is not None
    write_raw(place.data / "online_retail_II.csv", good(600))
    return [*CHECK, "--data-dir", str(place.data)]


def test_the_command_checks_a_pipeline(checked: list[str]) -> None:
    """`python -m features check` prints the findings and publishes them."""
    found = CliRunner().invoke(app, checked)
    assert found.exit_code == 0, found.output
    assert "later rows" in found.output
    assert "every promise holds" in found.output
    folder = Path(found.output.splitlines()[-1].removeprefix("report: "))
    assert {p.name for p in folder.iterdir()} >= {"findings.csv", "findings.json", "report.html"}
    assert "<script src" not in (folder / "report.html").read_text()
    assert read_checks(folder).passed


def test_the_command_fails_on_a_leak(checked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that breaks a promise ends the command with code 1 and is counted."""
    too_low = [k.model_copy(update={"high": -1.0}) for k in rfm().columns()]
    monkeypatch.setattr(Rfm, "columns", lambda self: too_low)
    found = CliRunner().invoke(app, [*checked, "--json"])
    assert found.exit_code == 1, found.output
    said = json.loads(found.output.splitlines()[-1])
    assert (said["passed"], said["failed"], said["missed"]) == (False, 1, [])
