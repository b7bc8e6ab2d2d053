"""Two pages for a browser: what the model is and how it does, and one customer with reasons.

Plain HTML without scripts or files from elsewhere, behind the same guard as every route. A customer
is asked for by a form, so that no id stands in an address or a log.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from fastapi import FastAPI, Request, Response
from jinja2 import DictLoader, Environment, StrictUndefined

from serving.guard import Refused
from serving.lookup import Lookup
from serving.release import Release
from training import categories
from training.contract import reasons
from training.drift import SCORE
from training.supervised.bundle import Bundle

SHOWN = 12
"""Columns of a waterfall that stand alone; the others are one bar."""
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
}
_FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{{ title }}</title><style>
body { font: 16px/1.5 system-ui, sans-serif; color: #111; max-width: 62rem; margin: 2rem auto;
padding: 0 1rem } table { border-collapse: collapse } caption { text-align: left }
th, td { border: 1px solid #bbb; padding: .2rem .6rem; text-align: left; vertical-align: top }
th { background: #eee } input, button { font: inherit; padding: .2rem .5rem }
.wide { overflow-x: auto } .big { font-size: 1.6rem }</style></head><body>
<nav aria-label="Pages"><a href="/page">Model</a> · <a href="/customer">Customer</a> ·
<a href="/docs">Requests</a></nav><main><h1>{{ title }}</h1>{% block main %}{% endblock %}</main>
</body></html>"""
_MODEL = """{% extends "frame" %}{% block main %}<p>{{ question }}</p>
<table><caption>What is served</caption>{% for name, value in facts.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}</table>
<h2>Since it was started</h2>{% if not rows %}<p>Nothing was answered yet.</p>
{% else %}<p>{{ rows }} of the newest rows, held against the customers at the test cutoff. An index
from 0.2 that chance does not explain is an alert.</p><div class="wide"><table>
<caption>Drift, largest first</caption><tr><th scope="col">column<th scope="col">index
<th scope="col">missing then<th scope="col">missing now<th scope="col">most changed
<th scope="col">then<th scope="col">now<th scope="col">alert</tr>{% for line in drift %}
<tr><th scope="row">{{ line.column }}</th><td>{{ "%.3f"|format(line.psi) }}
<td>{{ "%.0f %%"|format(100 * line.missing_then) }}
<td>{{ "%.0f %%"|format(100 * line.missing_now) }}<td>{{ line.where }}
<td>{{ "%.0f %%"|format(100 * line.share_then) }}
<td>{{ "%.0f %%"|format(100 * line.share_now) }}<td>{{ "yes" if line.alert else "no" }}</tr>
{% endfor %}</table></div>{% endif %}{% endblock %}"""
_CUSTOMER = """{% extends "frame" %}{% block main %}
<form method="post" action="/customer"><label for="id">The source's customer id</label>
<input id="id" name="id" required maxlength="200" autocomplete="off"> <button>Show</button></form>
{% if said %}<p role="alert">{{ said }}</p>{% endif %}{% if answer is not none %}
<p class="big">{{ output }}: <strong>{{ "%.4g"|format(answer) }}</strong> {{ unit }}</p>
{% for line in warnings %}<p role="alert">{{ line }}</p>{% endfor %}
{% if told %}<table><caption>Beside it</caption>{% for name, value in told.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}</table>{% endif %}
<h2>Why</h2><ul>{% for line in why %}<li>{{ line }}</li>{% endfor %}</ul>
<svg role="img" aria-labelledby="w" viewBox="0 0 900 {{ 26 * bars|length + 10 }}" width="100%">
<title id="w">How the score is made of its base and the columns, in {{ space }}</title>
{% for bar in bars %}<text x="330" y="{{ 26 * loop.index0 + 20 }}" text-anchor="end"
font-size="13">{{ bar.name }}</text><rect x="{{ bar.x }}" y="{{ 26 * loop.index0 + 6 }}"
width="{{ bar.width }}" height="18" fill="{{ bar.fill }}"></rect><text x="{{ bar.end }}"
y="{{ 26 * loop.index0 + 20 }}" font-size="13">{{ bar.said }}</text>{% endfor %}</svg>
<h2>Profile</h2><div class="wide"><table><tr><th scope="col">column<th scope="col">value
<th scope="col">unit<th scope="col">meaning</tr>{% for column in columns %}<tr>
<th scope="row">{{ column.name }}</th><td>{{ "missing" if row[column.name] is none else
row[column.name] }}<td>{{ column.unit }}<td>{{ column.meaning }}</tr>{% endfor %}</table></div>
{% endif %}{% endblock %}"""
RAISES, LOWERS, TOTAL = "#D55E00", "#0072B2", "#555555"
"""Okabe and Ito's palette; signs stand beside the bars, too."""
LEFT, WIDTH = 340.0, 460.0


class Pages:
    """The handlers over one released bundle."""

    def __init__(self, bundle: Bundle, release: Release, lookup: Lookup | None) -> None:
        self.bundle, self.release, self.lookup = bundle, release, lookup
        templates = {"frame": _FRAME, "model": _MODEL, "customer": _CUSTOMER}
        self.pages = Environment(
            loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined
        )

    def add(self, app: FastAPI) -> None:
        """Give ``app`` both pages."""
        for path, handler, methods in (
            ("/page", self.model, ["GET"]),
            ("/customer", self.customer, ["GET", "POST"]),
        ):
            app.add_api_route(path, handler, methods=methods, include_in_schema=False)

    async def model(self, request: Request) -> Response:
        """What is served, and what it has answered since it was started."""
        release, answer, watch = self.release, self.bundle.answer, request.app.state.watch
        shifted = watch.table() if watch else None
        facts = {
            "version": release.version, "approved by": release.reviewer,
            "approved at": release.approved_at, "learned from what was known by": answer.cutoff,
            "profiles": (self.lookup.published() if self.lookup else None) or "none",
        }  # fmt: skip
        rows = 0 if shifted is None else int(shifted["rows_now"].max())
        drift = [] if shifted is None else list(shifted.itertuples())
        return self._page(
            "model", title=release.model, question=answer.question, facts=facts, rows=rows,
            drift=drift,
        )  # fmt: skip

    async def customer(self, request: Request) -> Response:
        """One customer: the answer, why, and the profile behind it."""
        empty = {"answer": None, "said": "", "title": f"{self.release.model}: a customer"}
        if request.method == "GET":
            return self._page("customer", **empty)
        fields = dict(parse_qsl((await request.body()).decode(errors="replace")))
        try:
            loop, named = asyncio.get_running_loop(), fields.get("id", "").strip()
            shown = await loop.run_in_executor(None, self._shown, named)
        except Refused as refused:
            said = "There is no profile of that customer." if refused.field else refused.message
            page = self._page("customer", **{**empty, "said": said})
            page.status_code = refused.status
            return page
        return self._page("customer", **{**empty, **shown})

    def _shown(self, source_id: str) -> dict[str, Any]:
        if self.lookup is None or self.lookup.profiles is None or not source_id:
            raise Refused(422, "no_profiles", "No profiles are published for this service.")
        bundle, found = self.bundle, self.lookup.found([source_id])
        codes = {k.name: categories.codes(k) for k in bundle.answer.columns if k.dtype == "string"}
        row = found.rows[0]
        values = [codes[n].get(v) if n in codes else v for n, v in row.items()]
        X = np.array([values], dtype=np.float64)
        answers, scores = bundle.predict(X)
        explained = bundle.explain(X)
        told = bundle.tell(X, answers, scores)
        answer = bundle.answer
        return {
            "output": answer.output, "unit": answer.said_unit, "space": answer.space,
            "answer": float(answers[0]), "warnings": found.warnings, "row": row,
            "told": {name: column[0] for name, column in told.items()},
            "why": reasons(answer.columns, answer.currency, explained, top=5)[0],
            "bars": bars(float(explained.base[0]), explained.contributions[0], bundle.columns),
            "columns": answer.columns,
        }  # fmt: skip

    def _page(self, name: str, **values: Any) -> Response:
        text = self.pages.get_template(name).render(values)
        return Response(text, media_type="text/html", headers=HEADERS)


def bars(base: float, moved: Any, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The bars of a waterfall from the base to the score, largest first; they touch end to end."""
    order = np.argsort(-np.abs(moved), kind="stable")
    steps = [(names[j], float(moved[j])) for j in order[:SHOWN] if moved[j] != 0.0]
    rest = float(moved[order[SHOWN:]].sum())
    steps += [("all other columns", rest)] if rest else []
    ends = np.cumsum([base, *(step for _, step in steps)])
    low, high = min(0.0, ends.min()), max(0.0, ends.max())
    scale = WIDTH / ((high - low) or 1.0)

    def bar(name: str, start: float, end: float, fill: str, said: str) -> dict[str, Any]:
        x, right = LEFT + (min(start, end) - low) * scale, LEFT + (max(start, end) - low) * scale
        width = max(right - x, 1.0)
        return {
            "name": name, "x": round(x, 1), "width": round(width, 1), "fill": fill, "said": said,
            "end": round(x + width + 6, 1), "from": start, "to": end,
        }  # fmt: skip

    made = [bar("base", 0.0, base, TOTAL, f"{base:.3f}")]
    for (name, step), start in zip(steps, ends[:-1].tolist(), strict=True):
        made.append(bar(name, start, start + step, RAISES if step > 0 else LOWERS, f"{step:+.3f}"))
    total = float(ends[-1])
    return [*made, bar(SCORE, 0.0, total, TOTAL, f"{total:.3f}")]
