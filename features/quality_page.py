"""The quality report as one self-contained page: tables and plots as text and SVG."""

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any

from features.pages import STYLE

BARS = 180
"""Days are put together until there are at most so many bars."""
WIDTH, HEIGHT, ROW = 900, 140, 18
COLOUR = "#35618f"
Row = Mapping[str, Any]


def quality_page(source: str, tables: Mapping[str, Row], rows: Mapping[str, Sequence[Row]]) -> str:
    """The page of ``source``.

    Parameters
    ----------
    tables
        Facts of each table, with its account.
    rows
        What stands in each file of the report.
    """
    title = f"Quality of {source}"
    body = [f"<h1>{escape(title)}</h1>", "<h2>Checks</h2>"]
    body.append(_table(rows["checks"]) if rows["checks"] else "<p>No check is declared.</p>")
    body += ["<h2>To look at</h2>", _table(rows["remarks"])] if rows["remarks"] else []
    body += ["<h2>Repairs</h2>", _table(rows["repairs"])] if rows["repairs"] else []
    for name, facts in tables.items():
        totals = ", ".join(f"{kind} {n}" for kind, n in facts["totals"].items())
        body += [f"<h2>{escape(name)}</h2>", f"<p>{facts['seen']} records seen: {totals}.</p>"]
        days = [(row["day"], row["rows"]) for row in rows["days"] if row["table"] == name]
        body += ["<h3>Rows per day</h3>", _days(days)]
        reasons = facts["account"]["quarantined"]
        body.append("<h3>Quarantine by reason</h3>")
        body.append(_bars(reasons, f"Quarantine of {name}") if reasons else "<p>Nothing.</p>")
        missing = {
            row["column"]: float(row["missing_share"])
            for row in rows["columns"] if row["table"] == name
        }  # fmt: skip
        body += ["<h3>Missing share</h3>", _bars(missing, f"Missing in {name}", 1.0)]
    body += ["<h2>Where the rows came from</h2>", _table(rows["lineage"])]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"{''.join(body)}</body></html>"
    )


def _table(rows: Sequence[Row]) -> str:
    names = list(rows[0])
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        f"<tr{' class=failed' if row.get('verdict') == 'failed' else ''}>"
        + "".join(f"<td>{_said(row[name])}</td>" for name in names)
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _said(value: Any) -> str:
    return "" if value is None else escape(str(value))


def _days(days: Sequence[tuple[date, int]]) -> str:
    """Bars over time; a day without rows leaves a gap."""
    first, last = days[0][0], days[-1][0]
    together = ((last - first).days + 1 + BARS - 1) // BARS
    bars: dict[int, int] = {}
    for day, rows in days:
        place = (day - first).days // together
        bars[place] = bars.get(place, 0) + rows
    most, step = max(bars.values()), WIDTH / (max(bars) + 1)
    drawn = "".join(
        f'<rect x="{place * step:.1f}" y="{HEIGHT * (1 - n / most):.1f}" '
        f'width="{max(step - 0.5, 0.5):.1f}" height="{HEIGHT * n / most:.1f}"/>'
        for place, n in bars.items()
    )
    per = "a day" if together == 1 else f"in {together} days"
    text = f"{first} to {last}; highest bar {most} rows {per}"
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img" '
        f'aria-label="{text}" fill="{COLOUR}">{drawn}</svg><figcaption>{text}</figcaption></figure>'
    )


def _bars(values: Mapping[str, float], label: str, most: float | None = None) -> str:
    """A bar for each name, with its value as text."""
    most = most or max(values.values())
    drawn = []
    for number, (name, value) in enumerate(values.items()):
        y, width = number * ROW, 300 * value / most
        told = f"{value:.1%}" if isinstance(value, float) else str(value)
        drawn.append(
            f'<rect x="0" y="{y + 2}" width="{width:.1f}" height="{ROW - 5}" fill="{COLOUR}"/>'
            f'<text x="{width + 6:.1f}" y="{y + ROW - 5}" font-size="12">'
            f"{escape(told)} {escape(name)}</text>"
        )
    height = ROW * len(values)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        f'aria-label="{escape(label)}">{"".join(drawn)}</svg>'
    )
