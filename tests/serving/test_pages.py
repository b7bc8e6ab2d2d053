"""The pages for a browser: true, guarded, without scripts, and nothing of a request in them."""

import base64
import xml.etree.ElementTree as ET
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from features.online import Profile
from features.schema import FeatureColumn
from features.settings import Workspace
from serving import base
from serving.beside import ALONE, NO_HISTORY, NO_PROFILES, Beside, timeline
from serving.guard import Guard
from serving.pages import bars
from serving.release import Release
from serving.together import open_together
from serving.watch import Watch, close_all
from tests.serving.asgi import ask, post
from tests.serving.bad import SECRET
from tests.serving.conftest import COLUMNS, NAMES, Made, as_rows, random_rows
from tests.serving.echo import ACCESS, KEY
from tests.serving.test_lookup import CUTOFF, PEOPLE, X, at, published
from training import predictions
from training.supervised.bundle import Bundle

assert published, "the fixture with profiles of three customers"
FORM = [(b"content-type", b"application/x-www-form-urlencoded")]
LABELLED = {"input", "svg", "nav"}


class Seen(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


@pytest.fixture
def app(published: Workspace, bundle: Bundle, statement: Release) -> Guard:
    """The service with profiles."""
    return Guard(base.make_app(bundle, statement, at(published, 1)), base.RULES)


def test_a_customer_is_found_and_explained(app: Guard, bundle: Bundle) -> None:
    """The answer of the row, its profile, and bars that lead from the base to the score."""
    reply = ask(app, "POST", "/customer", f"id={PEOPLE[0]}".encode(), FORM)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/html")
    seen = Seen(reply.body.decode())
    answers, scores = bundle.predict(X[:1])
    assert f"{answers[0]:.4g}" in seen.text
    assert f"{scores[0]:.3f}" in seen.text
    for name in NAMES:
        assert name in seen.text
    assert all(
        attributes.get("aria-label") or attributes.get("aria-labelledby") or attributes.get("id")
        for tag, attributes in seen.tags
        if tag in LABELLED
    )
    assert ("label", {"for": "id"}) in seen.tags
    start = reply.body.index(b"<svg")
    ET.fromstring(reply.body[start : reply.body.index(b"</svg>") + 6])  # well-formed


def test_pages_hold_nothing_from_elsewhere(app: Guard) -> None:
    """No script, no address of another place; the browser is told so."""
    replies = [ask(app, "GET", path) for path in ("/page", "/customer")]
    replies.append(ask(app, "POST", "/customer", f"id={PEOPLE[0]}".encode(), FORM))
    for reply in replies:
        assert reply.status == 200
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        seen = Seen(reply.body.decode())
        assert not {"script", "img", "iframe"} & {tag for tag, _ in seen.tags}
        assert [a["href"] for tag, a in seen.tags if tag == "link"] == ["data:,"]  # no icon
        places = [a.get("href") or a.get("action") for t, a in seen.tags if t in ("a", "form")]
        assert places
        assert set(places) <= {"#main", "page", "customer", "docs"}
        assert "<html lang" in reply.body.decode()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"id=" + SECRET.encode(), FORM, 422),
        (b"id=<script>" + SECRET.encode(), FORM, 422),
        (b"", FORM, 422),
        (b"id=\xff\xfe", FORM, 422),
        (b'{"id": "1"}', [(b"content-type", b"application/json")], 415),
        (b"id=" + b"x" * (2 << 20), FORM, 413),
    ],
)
def test_what_is_not_a_customer_is_told(body: bytes, headers: Any, status: int, app: Guard) -> None:
    """A page or a refusal that repeats nothing."""
    reply = ask(app, "POST", "/customer", body, headers)
    assert reply.status == status
    assert SECRET not in reply.body.decode()
    assert b"<script" not in reply.body


def test_a_browser_asks_a_person_for_the_key(bundle: Bundle, statement: Release) -> None:
    """Pages are behind the keys of all routes; the password of the dialogue is the key."""
    locked = Guard(base.make_app(bundle, statement), base.RULES, ACCESS)
    reply = ask(locked, "GET", "/page")
    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Basic realm=")
    for said, status in ((f"anyone:{KEY}", 200), (f"{KEY}:", 401), ("anyone:wrong", 401)):
        told = b"Basic " + base64.b64encode(said.encode())
        assert ask(locked, "GET", "/page", headers=[(b"authorization", told)]).status == status


def test_the_model_page_shows_what_was_answered(
    bundle: Bundle, statement: Release, workplace: Workspace
) -> None:
    """Nothing first; then the rows, and the column that shifted at the top."""
    app = base.make_app(bundle, statement)
    app.state.watch = watch = Watch(bundle, predictions.folder(workplace, "churn", 3), 0.0)
    guard, rows = Guard(app, base.RULES), random_rows(300, seed=51)
    assert "Nothing was answered yet" in ask(guard, "GET", "/page").body.decode()
    rows[:, 0] += 1000
    post(guard, "/predict", as_rows(rows))
    watch.close()
    text = Seen(ask(guard, "GET", "/page").body.decode()).text
    assert "300 of the newest rows" in text
    assert text.index(NAMES[0]) < min(text.index(name) for name in NAMES[1:])


def test_bars_touch_and_end_at_the_score() -> None:
    """Each begins where the one before ended; small ones are one bar."""
    moved = np.array([0.5, -1.25, 0.0, *[0.01] * 20])
    made = bars(-0.3, moved, tuple(f"c{k}" for k in range(len(moved))))
    steps = made[1:-1]
    assert [bar["name"] for bar in steps[:2]] == ["c1", "c0"]
    assert steps[-1]["name"] == "all other columns"
    assert steps[0]["from"] == -0.3
    for one, two in zip(steps, steps[1:], strict=False):
        assert one["to"] == pytest.approx(two["from"])
    assert steps[-1]["to"] == pytest.approx(made[-1]["to"]) == pytest.approx(-0.3 + moved.sum())
    assert all(340 <= bar["x"] <= bar["x"] + bar["width"] <= 801 for bar in made)


def test_the_other_services_stand_beside(app: Guard, bundle: Bundle) -> None:
    """Each in a line of its own answer, or with why it has none; alone that is said."""
    lookup = app.app.state.pages.lookup  # type: ignore[attr-defined]
    body = f"id={PEOPLE[0]}".encode()
    assert ALONE in ask(app, "POST", "/customer", body, FORM).body.decode()
    stage = {"stage": "loyalty", "periods_in_stage": 3, "state": "A", "state_name": "active",
             "probability": 0.91}  # fmt: skip
    segment = {"segment": "B", "name": "evenings", "confidence": 0.8}
    app.app.state.pages.others = [  # type: ignore[attr-defined]
        Beside("spend", bundle, lookup),
        Beside("lifecycle", told("lifecycle", stage), lookup),
        Beside("segments", told("segments", segment), lookup),
        Beside("recommend", told("lists", {}, columns=()), None),
        Beside("other", bundle, None),
    ]
    text = Seen(ask(app, "POST", "/customer", body, FORM).body.decode()).text
    (answer,), _ = bundle.predict(X[:1])
    for line in (
        f"churn_probability: {answer:.4g} probability",
        "stage: loyalty, for 3 periods; state A (active), probability 0.91",
        "segment B: evenings, confidence 0.80",
        NO_HISTORY,
        NO_PROFILES,
    ):
        assert line in text
    last = CUTOFF - timedelta(days=float(X[0, 0]))
    assert f"{last:%Y-%m-%d}the last order" in text.replace("\n", "")


def test_services_of_one_process_know_each_other(
    made: Made, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page has the others beside it, and not itself."""
    monkeypatch.setenv("PERENNIAL_KEYS_DIR", str(made.keys))
    both, rules = open_together({"one": released, "two": released})
    try:
        assert ask(Guard(both, rules), "GET", "/two/page").status == 200
        first, second = (app.state.pages for app in both.apps.values())
        assert [other.bundle for other in first.others] == [second.bundle]
        assert [other.bundle for other in second.others] == [first.bundle]
    finally:
        for app in both.apps.values():
            app.state.health.close()
        close_all()


def told(kind: str, says: dict[str, Any], columns: Any = COLUMNS) -> Any:
    """As much of a bundle as a line takes."""
    return SimpleNamespace(
        answer=SimpleNamespace(kind=kind, columns=columns), told=lambda rows: [says] * len(rows)
    )


def test_the_timeline_is_what_the_profile_dates() -> None:
    """Moments and periods, the newest first; what is unknown or nothing is not there."""
    values = {
        "rfm__recency_days": 1.5, "rfm__age_days": 100.0, "web__seen_days": None,
        "periods__orders_p0": 0.0, "periods__orders_p1": 2.0, "periods__visits_p1": 5.0,
        "periods__visits_p2": None, "rfm__count": 7.0,
    }  # fmt: skip
    said = {
        "rfm__recency_days": "time since the last order",
        "rfm__age_days": "time since the first order",
        "web__seen_days": "time since the last visit",
    }
    columns = [
        FeatureColumn(
            name=name, meaning=said.get(name, "a count"), missing="none",
            unit="days" if name in said else "events",
            window_days=30 * (int(name[-1]) + 1) if name.startswith("periods") else None,
        )
        for name in values
    ]  # fmt: skip
    profile = Profile(1, values, CUTOFF, CUTOFF, 0.0)
    assert timeline(profile, columns) == [
        ("2025-06-28", "the last order"),
        ("2025-05-01", "2 orders, 5 visits in 30 days from here"),
        ("2025-03-22", "the first order"),
    ]
