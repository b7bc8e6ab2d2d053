"""The pages in headless Chromium: found, read and used by keyboard, with nothing from elsewhere."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.settings import Workspace
from serving import base
from serving.beside import NO_PROFILES, Beside
from serving.guard import Guard
from serving.release import Release
from serving.watch import Watch
from tests.serving.asgi import listening
from tests.serving.conftest import NAMES
from tests.serving.test_lookup import PEOPLE, at, published
from training import predictions
from training.supervised.bundle import Bundle

assert published, "the fixture with profiles of three customers"
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.access(CHROMIUM, os.X_OK), reason=f"{CHROMIUM} is not installed"),
]
OWN = "the server responded with a status of 422"
"""What the browser itself says of a customer who is not there."""
AXE = """() => {
  const wrong = [];
  const named = e => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
    || e.textContent.trim() || (e.id && document.querySelector(`label[for="${e.id}"]`));
  if (!document.documentElement.lang) wrong.push('no language');
  if (!document.title) wrong.push('no title');
  if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
  if (document.querySelectorAll('main').length !== 1) wrong.push('not one main');
  let level = 0;
  for (const h of document.querySelectorAll('h1, h2, h3, h4')) {
    const own = Number(h.tagName[1]);
    if (own > level + 1) wrong.push('heading skips a level: ' + h.textContent);
    level = own;
  }
  for (const e of document.querySelectorAll('input, button, a, nav, svg[role=img], [role=region]'))
    if (!named(e)) wrong.push('without a name: ' + e.outerHTML.slice(0, 80));
  for (const t of document.querySelectorAll('table'))
    if (!t.querySelector('th[scope]')) wrong.push('table without scoped headers');
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  if (new Set(ids).size !== ids.length) wrong.push('an id stands twice');
  for (const e of document.querySelectorAll('p, td, th, li, a, button, h1, h2')) {
    const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
      return .2126 * r + .7152 * g + .0722 * b };
    let back = e; while (back && /, 0\\)$/.test(getComputedStyle(back).backgroundColor))
      back = back.parentElement;
    const [a, b] = [light(getComputedStyle(e).color),
      back ? light(getComputedStyle(back).backgroundColor) : 1].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) wrong.push('little contrast: ' + e.textContent.slice(0, 40));
  }
  return wrong;
}"""
"""The rules of WCAG that can be told without an eye: names, language, headings, contrast."""


@pytest.fixture
def address(
    published: Workspace,  # noqa: F811
    bundle: Bundle,
    statement: Release,
    tmp_path: Path,
) -> Iterator[str]:
    """The service with profiles, on a socket."""
    app = base.make_app(bundle, statement, at(published, 1))
    pages = app.state.pages
    pages.others = [Beside("clv", bundle, pages.lookup), Beside("basket", bundle, None)]
    app.state.watch = Watch(bundle, predictions.folder(published, "churn", 3), share=0.0)
    try:
        with listening(Guard(app, base.RULES)) as found:
            yield found
    finally:
        app.state.watch.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all pages."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as player:
        started = player.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page; whatever it complains of or asks for elsewhere fails the test."""
    wrong: list[str] = []
    page = browser.new_page(base_url=address)
    page.on("console", lambda said: wrong.append(said.text) if OWN not in said.text else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda sent: None if sent.url.startswith((address, "data:")) else wrong.append(sent.url),
    )
    yield page
    page.close()
    assert wrong == []


def test_a_customer_is_found_by_keyboard(page: Any) -> None:
    """Tab to the field, type, Enter: the answer with its reasons, waterfall and profile."""
    page.goto("/customer")
    assert page.evaluate(AXE) == []
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "id":
            break
    page.keyboard.type(PEOPLE[0])
    page.keyboard.press("Enter")
    page.wait_for_selector("h2")
    parts = ["Why", "The other models", "Timeline", "Profile"]
    assert page.locator("h2").all_inner_texts() == parts
    assert "churn_probability:" in page.inner_text("p.big")
    assert page.locator("main ul li").count() >= 1
    assert page.locator("th:has-text('clv') + td").inner_text().startswith("churn_probability: ")
    assert page.locator("th:has-text('basket') + td").inner_text() == NO_PROFILES
    assert page.locator("td:text-is('the last order')").count() == 1
    assert page.locator("svg rect").count() >= 3
    text = page.inner_text("main")
    assert all(name in text for name in NAMES)
    assert "id=" not in page.url
    assert page.evaluate(AXE) == []


def test_what_is_no_customer_is_said(page: Any) -> None:
    """An alert, and nothing of what was typed."""
    page.goto("/customer")
    page.fill("#id", "NOBODY-1")
    with page.expect_navigation():
        page.click("button")
    assert page.inner_text("[role=alert]") == "There is no profile of that customer."
    assert "NOBODY-1" not in page.content()


def test_the_model_page_by_keyboard(page: Any) -> None:
    """Its state in headings and tables; every link and wide table is reached by Tab."""
    page.goto("/page")
    assert page.inner_text("h1") == "churn"
    assert page.locator("h2").all_inner_texts() == ["Since it was started", "Matured labels"]
    assert page.evaluate(AXE) == []
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"To the content", "Model", "Customer", "Requests"} <= set(reached)
    with page.expect_navigation():
        page.click("nav a:has-text('Customer')")
    assert page.url.endswith("/customer")
