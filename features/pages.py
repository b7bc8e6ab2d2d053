"""One table for a terminal, or as a self-contained HTML page that needs no network and no mouse."""

from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; }
body { max-width: 90rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; } .wide { overflow-x: auto; }
th, td { border: 1px solid #bbb; padding: .25rem .6rem; text-align: left; vertical-align: top; }
th { background: #eee; } td:first-child { overflow-wrap: anywhere; }
.failed td { background: #fde8e8; }
input { font: inherit; padding: .3rem .5rem; width: min(30rem, 90%); border: 1px solid #555; }
"""
SEARCH = """
const box = document.getElementById('words'), said = document.getElementById('count');
const rows = [...document.querySelectorAll('tbody tr')];
function find() {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
    shown += !row.hidden;
  }
  said.textContent = shown + ' of ' + rows.length + ' rows';
}
document.getElementById('search').hidden = false;
box.addEventListener('input', find);
find();
"""


def text_table(rows: Sequence[Mapping[str, str]], widest: int = 60) -> list[str]:
    """``rows`` as lines of aligned columns; longer cells are cut."""
    if not rows:
        return []
    names = list(rows[0])
    cells = [names, *([_cut(row[name], widest) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _cut(text: str, widest: int) -> str:
    return text if len(text) <= widest else f"{text[: widest - 3]}..."


def page(title: str, text: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """A heading, paragraphs, a search box and ``rows`` as a table.

    A row whose ``verdict`` is ``failed`` is marked; the word stands there too.
    """
    names = list(rows[0]) if rows else []
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(_row([row[name] for name in names], row.get("verdict", "")) for row in rows)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>{''.join(f'<p>{escape(t)}</p>' for t in text)}"
        '<p id="search" hidden><label for="words">Rows with all of these words: </label>'
        '<input id="words" type="search" autocomplete="off"> '
        '<span id="count" role="status"></span></p>'
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<script>{SEARCH}</script></body></html>"
    )


def _row(cells: Sequence[str], verdict: str) -> str:
    mark = ' class="failed"' if verdict == "failed" else ""
    return f"<tr{mark}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
