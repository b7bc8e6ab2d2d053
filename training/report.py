"""The review pack as documents: one list of sections, rendered as Markdown and as one HTML page."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.errors import DataError
from training.sentences import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then a table, then plots."""

    title: str
    text: Sequence[str] = ()
    table: pd.DataFrame | None = None
    plots: Sequence[str] = field(default_factory=tuple)
    """Names of PNG files in the pack's ``plots`` folder, without ending, that others drew."""
    figures: Mapping[str, "tuple[pd.DataFrame, Figure]"] = field(default_factory=dict)
    """By name: plots of the section's own, each with the tidy table behind it."""
    files: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """By name: tables that stand in the pack as CSV."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of all its plots."""
        return (*self.figures, *self.plots)

    def write(self, folder: Path) -> None:
        """Its own plots and tables into a pack."""
        from training.plots import save

        for name, (table, figure) in self.figures.items():
            save(folder / "plots", name, table, figure)
        for name, table in self.files.items():
            table.to_csv(folder / f"{name}.csv", index=False)


def check_complete(sections: Sequence[Section]) -> None:
    """Refuse a document with an empty section, table or cell: a reviewer must not guess.

    Raises
    ------
    DataError
        Naming every empty place.
    """
    problems = []
    for section in sections:
        if not section.text and section.table is None and not section.shown:
            problems.append(f"section {section.title!r} is empty")
        problems += [
            f"section {section.title!r}: an empty paragraph"
            for text in section.text
            if not text.strip()
        ]
        if section.table is None:
            continue
        if section.table.empty:
            problems.append(f"section {section.title!r}: the table has no rows")
        for column in section.table.columns:
            empty = section.table[column].isna() | (
                section.table[column].astype(str).str.strip() == ""
            )
            if empty.any():
                problems.append(
                    f"section {section.title!r}: "
                    f"{int(empty.sum())} empty cells in column {column!r}"
                )
    if problems:
        raise DataError.listing("the review pack has empty places", problems)


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The document as Markdown; plots are linked."""
    check_complete(sections)
    lines = [f"# {_plain(title)}", ""]
    for section in sections:
        lines += [f"## {_plain(section.title)}", ""]
        for text in section.text:
            lines += [_plain(text), ""]
        if section.table is not None:
            names = [str(name) for name in section.table.columns]
            lines += [_row(names), _row(["---"] * len(names))]
            lines += [
                _row([_cell(v) for v in row]) for row in section.table.itertuples(index=False)
            ]
            lines.append("")
        lines += [f"![{name}](plots/{name}.png)" for name in section.shown]
        lines += [""] if section.shown else []
    return "\n".join(lines)


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #bbb; padding: .25rem .6rem; }
th { background: #eee; text-align: left; } td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; } h2 { margin-top: 2rem; } .wide { overflow-x: auto; }
"""


def page(title: str, sections: Sequence[Section], plots: Path) -> str:
    """The document as one HTML file with its plots inside; needs no network."""
    check_complete(sections)
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(text)}</p>" for text in section.text]
        if section.table is not None:
            head = "".join(f"<th>{html.escape(str(n))}</th>" for n in section.table.columns)
            body = "".join(
                "<tr>" + "".join(f"<td>{html.escape(_cell(v))}</td>" for v in row) + "</tr>"
                for row in section.table.itertuples(index=False)
            )
            parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')
        for name in section.shown:
            data = base64.b64encode((plots / f"{name}.png").read_bytes()).decode()
            parts.append(f'<img alt="{html.escape(name)}" src="data:image/png;base64,{data}">')
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def text_table(table: pd.DataFrame) -> str:
    """The table for a terminal."""
    return str(table.map(_cell).to_string(index=False))


def pairs(values: dict[str, Any]) -> pd.DataFrame:
    """A two-column table of names and values; what is missing stays missing, and is noticed."""
    known = {k: v if v is None or v != v else _cell(v) for k, v in values.items()}
    return pd.DataFrame(
        {"what": list(known), "value": pd.Series(list(known.values()), dtype=object)}
    )


def _row(cells: Sequence[str]) -> str:
    kept = (_plain(cell).replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(" ".join(cell.split()) for cell in kept) + " |"


def _plain(text: str) -> str:
    """Text that opens no HTML tag where Markdown is shown."""
    return text.replace("<", "&lt;")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return figures(value)[0]
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items()) or "empty"
    if isinstance(value, list | tuple):
        return " ".join(_cell(one) for one in value) or "empty"
    if isinstance(value, int | np.integer) and abs(int(value)) >= 10_000:
        return f"{value:,}"
    return str(value)
