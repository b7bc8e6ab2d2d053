"""The catalogue: complete, found by words, readable by people with and without a mouse."""

import csv
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features import catalogue
from features.__main__ import app
from features.pages import page, text_table
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.worlds import CONFIGS

RFM = {"rfm.Rfm": resolve(SETS, Part(use="rfm.Rfm"))}


def test_every_column_of_every_set_is_there() -> None:
    """Each entry says all; names are told apart; sets without defaults are named."""
    sets, unset = catalogue.every_set()
    found = catalogue.entries(sets)
    assert sorted([*sets, *unset]) == catalogue.discover()
    assert len(found) == sum(len(part.columns()) for part in sets.values()) > 50
    assert len({entry["column"] for entry in found}) == len(found)
    fields = ("unit", "meaning", "missing means", "owner", "leak class", "sensitivity", "set")
    assert [e["column"] for e in found if not all(e[field].strip() for field in fields)] == []


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("recency", "rfm__recency_days"),
        ("since first", "rfm__T_days"),
        ("FREQUENCY orders", "rfm__frequency_orders"),
        ("currency", "rfm__monetary_value"),
        ("nothing like it", None),
    ],
)
def test_columns_are_found_by_words(words: str, first: str | None) -> None:
    """All words count, in name, meaning or unit; names come before meanings."""
    found = catalogue.find(catalogue.entries(RFM), words)
    assert (found[0]["column"] if found else None) == first


def test_an_entry_says_what_the_column_declares() -> None:
    """Type, window, bounds and what a customer without rows gets."""
    entry = catalogue.find(catalogue.entries(RFM), "frequency")[0]
    assert entry["type"] == "number"
    assert entry["window"] == "whole past"
    assert entry["without rows"] == "0"
    assert entry["bounds"] == "at least 0"
    assert entry["reads"] == "order_lines"


def test_page_is_self_contained_and_accessible(tmp_path: Path) -> None:
    """No outside resource; a label, headings of columns, a language; words are escaped."""
    catalogue.write_html(catalogue.entries(RFM), tmp_path / "catalogue.html")
    text = (tmp_path / "catalogue.html").read_text()
    assert not re.search(r"""(?:src|href)=|https?://|@import|url\(""", text)
    assert '<html lang="en">' in text
    assert '<label for="words">' in text
    assert text.count('<th scope="col">') == len(catalogue.entries(RFM)[0])
    assert text.count("<tr>") == len(catalogue.entries(RFM)) + 1
    assert "<b>" not in page("a", ["<b>"], [{"x": "<b>"}])
    assert 'class="failed"' in page("a", [], [{"verdict": "failed"}])


def test_text_table_is_aligned_and_cut() -> None:
    """Columns line up, long cells end in dots, nothing gives nothing."""
    lines = text_table([{"a": "x", "b": "y" * 80}, {"a": "longer", "b": "z"}], widest=20)
    assert lines[1] == "x       " + "y" * 17 + "..."
    assert lines[2] == "longer  z"
    assert text_table([]) == []


def test_the_command_lists_finds_and_writes(tmp_path: Path) -> None:
    """All sets, or those of a pipeline; files hold every field."""
    listed = CliRunner().invoke(app, ["catalogue", "--find", "time since the last order"])
    assert listed.exit_code == 0, listed.output
    assert "rfm__recency_days" in listed.output
    files = ["--csv", str(tmp_path / "all.csv"), "--html", str(tmp_path / "all.html")]
    words = ["catalogue", str(CONFIGS / "churn.yaml"), "--set", "features=[{use: rfm.Rfm}]"]
    of_config = CliRunner().invoke(app, [*words, *files])
    assert of_config.exit_code == 0, of_config.output
    assert "4 columns" in of_config.output
    with (tmp_path / "all.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [entry["column"] for entry in rows] == [k.name for k in RFM["rfm.Rfm"].columns()]
    assert "rfm__T_days" in (tmp_path / "all.html").read_text()


def test_sets_listed_again_are_told_apart() -> None:
    """The same set with other columns stands under its name and a number."""
    from features.settings import validated
    from features.snapshot import FeaturePlan

    part = {"use": "attributes.Attributes"}
    plan = validated(
        FeaturePlan,
        {
            "data": "simulated",
            "cutoffs": {"test": "end-90d", "latest": "end-180d"},
            "features": [
                {**part, "config": {"columns": {"plan": "category"}}},
                {**part, "config": {"columns": {"tenure": "months"}}},
            ],
        },
        "plan",
    )
    assert list(catalogue.sets_of(plan)) == ["attributes.Attributes", "attributes.Attributes 2"]
