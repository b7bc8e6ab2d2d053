"""Two pages for a browser: what the model is and how it does, and one customer with reasons.

Of the customer also what the process's other services say, and the past (:mod:`serving.beside`).

Plain HTML without scripts or files from elsewhere, behind the same guard as every route. A customer
is asked for by a form, so that no id stands in an address or a log.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.errors import DataError
from features.settings import Workspace
from serving import sbom
from serving.beside import ALONE, Beside, row_of, timeline
from serving.lookup import Lookup
from serving.refused import Refused
from serving.release import Release
from training.bundle import Loaded
from training.contract import reasons
from training.drift import SCORE
from training.record import MATURED, Record
from training.sentences import figures
from training.supervised.bundle import Bundle

log = logging.getLogger("perennial")

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 12
"""Columns of a waterfall that stand alone; the others are one bar."""
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
}
RAISES, LOWERS, TOTAL = "#D55E00", "#0072B2", "#555555"
"""Okabe and Ito's palette; signs stand beside the bars, too."""
LEFT, WIDTH = 340.0, 460.0


class Pages:
    """The handlers over one released bundle."""

    def __init__(self, bundle: Loaded, release: Release, lookup: Lookup | None) -> None:
        self.bundle, self.release, self.lookup = bundle, release, lookup
        self.others: list[Beside] = []
        self.pages = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
        )
        self.pages.filters["plain"] = plain

    @property
    def handlers(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Path -> handler of each page; customers are shown for answers that are one number."""
        pages: dict[str, Callable[[Request], Awaitable[Response]]] = {"/page": self.model}
        return pages | ({"/customer": self.customer} if isinstance(self.bundle, Bundle) else {})

    async def model(self, request: Request) -> Response:
        """What is served, what it has answered since it was started, and how right it was."""
        release, answer, watch = self.release, self.bundle.answer, request.app.state.watch
        shifted = watch.table() if watch else None
        facts = {
            "version": release.version, "approved by": release.reviewer,
            "approved at": release.approved_at, "learned from what was known by": answer.cutoff,
            "profiles": self._profiles(), "made of": sbom.summary(),
        }  # fmt: skip
        rows = 0 if shifted is None else int(shifted["rows_now"].max())
        drift = [] if shifted is None else list(shifted.itertuples())
        loop = asyncio.get_running_loop()
        ledger, alerts = await loop.run_in_executor(None, matured, release.model)
        return self._page(
            "model", title=release.model, question=answer.question, facts=facts, rows=rows,
            drift=drift, ledger=ledger, alerts=alerts,
        )  # fmt: skip

    def _profiles(self) -> str:
        """What is known of the customers who can be named."""
        found = self.lookup.published() if self.lookup else None
        if found is None:
            return "none: requests bring rows"
        return "{customers:,} customers as of {cutoff}, {age_days:.0f} days old".format(**found)

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
        assert isinstance(self.bundle, Bundle), "its page is there for no other"
        bundle = self.bundle
        X, found = row_of(bundle, self.lookup, source_id)
        answers, scores = bundle.predict(X)
        explained = bundle.explain(X)
        told = bundle.tell(X, answers, scores)
        answer = bundle.answer
        return {
            "output": answer.output, "unit": answer.said_unit, "space": answer.space,
            "answer": float(answers[0]), "warnings": found.warnings, "row": found.rows[0],
            "others": {other.model: other.says(source_id) for other in self.others},
            "alone": ALONE, "timeline": self._timeline(source_id),
            "told": {name: column[0] for name, column in told.items()},
            "why": next(reasons(answer.columns, answer.currency, explained, top=5)),
            "bars": bars(float(explained.base[0]), explained.contributions[0], bundle.columns),
            "columns": answer.columns, "currency": answer.currency,
        }  # fmt: skip

    def _timeline(self, source_id: str) -> list[tuple[str, str]]:
        assert self.lookup is not None, "the customer was found by it"
        assert self.lookup.profiles is not None, "the customer was found there"
        profile = self.lookup.profile(source_id)
        return timeline(profile, self.lookup.profiles.meta().columns) if profile else []

    def _page(self, name: str, **values: Any) -> Response:
        text = self.pages.get_template(f"{name}.html").render(
            values, customers="/customer" in self.handlers
        )
        return Response(text, media_type="text/html", headers=HEADERS)


def plain(value: Any) -> str:
    """A value as a person reads it: no more digits than tell something."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value.is_integer() else figures(value)[0]


def matured(model: str) -> tuple[list[dict[str, Any]], list[str]]:
    """What the record says of answers whose labels have matured, the newest first, and alerts."""
    try:
        entries = Record(Workspace.locate()).entries(model)
    except DataError:
        log.exception("the record cannot be read: the model page goes without its ledger")
        return [], []
    told = [entry for entry in reversed(entries) if entry.event == MATURED]
    lines = [
        {"version": entry.version, "metric": metric, **entry.evidence, **numbers}
        for entry in told
        for metric, numbers in entry.evidence["metrics"].items()
    ]
    return lines, [text for entry in told[:1] for text in entry.evidence["alerts"]]


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
