"""Documents for reviewers: no empty place, and values that cannot break the page."""

import base64
import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from training.card import shown_worse, with_intervals
from training.report import Section, check_complete, markdown, page, pairs, text_table
from training.track import MORE, MOST_SAID, description

TABLE = pd.DataFrame({"name": ["a", "b"], "value": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (Section("Empty"), "section 'Empty' is empty"),
        (Section("S", ["said", " \n"]), "section 'S': an empty paragraph"),
        (Section("S", table=TABLE.head(0)), "section 'S': the table has no rows"),
        (Section("S", table=TABLE.assign(value=[1.0, None])), "1 empty cells in column 'value'"),
        (Section("S", table=TABLE.assign(name=["", "  "])), "2 empty cells in column 'name'"),
        (Section("S", table=TABLE.assign(name=[None, "b"])), "1 empty cells in column 'name'"),
        (Section("S", table=pairs({"a": 1, "b": None})), "1 empty cells in column 'value'"),
        (Section("S", table=pairs({"a": float("nan")})), "1 empty cells in column 'value'"),
        (Section("S", table=pairs({"a": ""})), "1 empty cells in column 'value'"),
    ],
)
def test_empty_places_are_refused(section: Section, said: str, tmp_path: Path) -> None:
    """An empty section, paragraph, table or cell is named, in both forms of the document."""
    good = Section("Good", ["text"], TABLE)
    for write in (lambda: markdown("T", [good, section]), lambda: page("T", [section], tmp_path)):
        with pytest.raises(DataError, match=re.escape(said)):
            write()


def test_all_empty_places_are_named_at_once() -> None:
    """One message lists them all."""
    with pytest.raises(DataError) as caught:
        check_complete([Section("A"), Section("B", [""], TABLE.assign(name=["", "b"]))])
    assert str(caught.value).count("\n  - ") == 3


def test_zero_and_no_are_not_empty() -> None:
    """Values that only look like nothing pass."""
    table = pd.DataFrame({"a": [0.0, 1.0], "b": [False, True], "c": ["0", "no"]})
    assert "| 0.0000 | no | 0 |" in markdown("T", [Section("S", table=table)])


NASTY = ["a|b", "<script>alert(1)</script>", "two\nlines", "<b>&amp;\"'", "back\\slash", "`code`"]


class Reader(HTMLParser):
    """Collects tags and the text of cells, paragraphs and headings."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Note a tag; what follows is its text."""
        self.tags.append(tag)
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        """Add to the text of the last tag."""
        if self.texts:
            self.texts[-1] += data


def read(document: str) -> Reader:
    """The page as a browser sees it."""
    reader = Reader()
    reader.feed(document)
    reader.close()
    return reader


@given(st.lists(st.text(min_size=1).filter(str.strip) | st.sampled_from(NASTY), min_size=1))
def test_html_shows_values_as_they_are(values: list[str]) -> None:
    """Whatever stands in titles, paragraphs, headers and cells, it is text and never a tag."""
    values = [v.replace("\r", " ").replace("\0", " ").strip() or "x" for v in values]
    table = pd.DataFrame({values[0]: values})
    document = page(values[0], [Section(values[0], values, table)], Path("nowhere"))
    found = read(document)
    plain = ["html", "head", "meta", "title", "style", "body", "h1", "h2"]
    plain += ["p"] * len(values) + ["div", "table", "tr", "th"] + ["tr", "td"] * len(values)
    assert found.tags == plain
    by_tag = list(zip(found.tags, found.texts, strict=True))
    assert [text for tag, text in by_tag if tag == "p"] == values
    assert [text for tag, text in by_tag if tag == "td"] == values
    assert {text for tag, text in by_tag if tag in ("title", "h1", "h2", "th")} == {values[0]}


@given(st.lists(st.text(min_size=1).filter(str.strip) | st.sampled_from(NASTY), min_size=1))
def test_markdown_keeps_its_columns_and_has_no_tags(values: list[str]) -> None:
    """Bars and line ends stay inside their cell, and no value opens a tag."""
    table = pd.DataFrame({values[0]: values, "n": range(len(values))})
    document = markdown(values[0], [Section(values[0], values, table)])
    assert "<" not in document
    body = document[document.rindex("\n| --- | --- |\n") :].strip().split("\n")[1:]
    assert len(body) == len(values)
    for number, row in enumerate(body):
        cells = re.findall(r"\| ((?:\\.|[^|\\])*) (?=\|)", row)
        shown = html.unescape(re.sub(r"\\(.)", r"\1", cells[0]))
        assert shown == " ".join(html.unescape(values[number]).split())
        assert cells[1:] == [str(number)]


def test_markdown_by_hand() -> None:
    """A small document, letter by letter."""
    table = pd.DataFrame({"what|who": ["a|b", "<i>"], "n": [0.5, 2.0]})
    assert markdown("Title", [Section("One", ["Said <b>."], table, ("gain",))]) == "\n".join([
        "# Title", "", "## One", "", "Said &lt;b>.", "",
        "| what\\|who | n |", "| --- | --- |", "| a\\|b | 0.5000 |", "| &lt;i> | 2.0000 |", "",
        "![gain](plots/gain.png)", "",
    ])  # fmt: skip


def test_plots_are_inside_the_page(tmp_path: Path) -> None:
    """The page needs no other file: plots are in it, and nothing is fetched."""
    (tmp_path / "gain.png").write_bytes(b"\x89PNG picture")
    document = page("T", [Section("S", ["text"], TABLE, ("gain",))], tmp_path)
    picture = base64.b64encode(b"\x89PNG picture").decode()
    assert f'src="data:image/png;base64,{picture}"' in document
    assert not re.search(r"(src|href)=\"(?!data:)", document)
    assert "http" not in html.unescape(document)


def test_a_table_for_the_terminal() -> None:
    """Yes and no, four digits, no index."""
    text = text_table(pd.DataFrame({"passed": [True, False], "x": [0.123456, 2.0]}))
    assert [line.split() for line in text.split("\n")] == [
        ["passed", "x"], ["yes", "0.1235"], ["no", "2.0000"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.79398, "0.7940"), (9.99, "9.9900"), (14876.41958, "14,876.42"), (-1234.5, "-1,234.50"),
        (2132, "2132"), (412989, "412,989"), (np.int64(57344), "57,344"), (True, "yes"),
        ({}, "empty"), ({"kind": "platt", "line": [1.9962829143729732, -0.0757]},
                       "kind platt, line 1.9963 -0.0757"),
        (("a", 1), "a 1"), ((), "empty"),
    ],
)  # fmt: skip
def test_cells_read_as_a_person_would_write_them(value: Any, said: str) -> None:
    """Digits that tell something, thousands parted, and settings without brackets and quotes."""
    assert said in text_table(pairs({"a": value})).split("\n")[-1]
    assert f"| {said} |" in markdown("T", [Section("S", table=pairs({"a": value}))])


def test_an_interval_has_the_digits_of_its_largest_number() -> None:
    """So that the three can be compared."""
    table = pd.DataFrame({"value": [9.97, 0.5], "ci_low": [8.9, 0.4], "ci_high": [10.1, 0.6]})
    assert with_intervals(table, "value", sign="+") == [
        "+9.97 [+8.90, +10.10]", "+0.5000 [+0.4000, +0.6000]",
    ]  # fmt: skip


def test_who_is_better_cannot_be_overlooked() -> None:
    """An interval wholly below 0 is said in words, one that touches 0 is not."""
    paired = pd.DataFrame({
        "against": ["a", "a", "b", "b"], "metric": ["x", "y", "x", "y"],
        "ci_high": [-0.1, 0.0, -0.2, -0.3],
    })  # fmt: skip
    assert (
        shown_worse(paired) == "Shown to be worse (interval below 0) than a by x; than b by x, y."
    )
    assert "By no interval" in shown_worse(paired.assign(ci_high=0.1))


def test_mlflow_s_page_has_limits_gates_and_the_commands_however_long_the_card() -> None:
    """What a reviewer needs comes first; what MLflow would cut off is cut at a line, and said."""
    heads = ("What it is", "Gates", "Metrics", "Limits", "Make it again")
    card = "\n".join(["# churn", *(f"\n## {head}\n\nabout {head}" for head in heads)])
    said = description(card, "r1", "churn", 3)
    assert said.index("training rerun churn:3") < said.index("about Limits")
    assert said.index("about Limits") < said.index("about Gates") < said.index("about Metrics")
    assert "about Make" not in said
    long = description(card.replace("about Metrics", "line\n" * 3000), "r1", "churn", 3)
    assert len(long) <= MOST_SAID
    assert long.endswith(f"line{MORE}")
    assert "about Gates" in long
