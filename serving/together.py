"""Several released bundles behind one guard in one process, for small installations.

Each answers below its name, ``/churn/predict``; health is asked at the top. The routes are those of
the services, with their rules; so are the guard and the limits, which all share.
"""

from collections.abc import Mapping
from pathlib import Path

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from features.errors import DataError
from serving import base
from serving.beside import Beside
from serving.guard import READY, Rule
from serving.health import Health
from serving.refused import no_path
from training.bundle import TOLERANCE

HEALTH = ("/livez", READY, "/healthz")
"""Paths that are one for all."""


class Together:
    """Hands requests to the app of the name that their path begins with."""

    def __init__(self, apps: Mapping[str, base.App], health: Mapping[str, Health]) -> None:
        self.apps, self._health = apps, health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer health here, and the rest there."""
        if scope["type"] != "http":
            first = next(iter(self.apps.values()))
            await first(scope, receive, send)
            return
        if scope["path"] in HEALTH:
            told = {name: one.told for name, one in self._health.items()}
            body = orjson.dumps(told) if scope["path"] == READY else b"\n"
            await Response(body, media_type="application/json")(scope, receive, send)
            return
        _, name, rest = scope["path"].split("/", 2)
        if name not in self.apps:
            raise no_path()
        await self.apps[name]({**scope, "path": f"/{rest}"}, receive, send)


def rules(names: Mapping[str, object]) -> dict[str, Rule]:
    """The rules of all paths."""
    below = {path: rule for path, rule in base.RULES.items() if path not in HEALTH}
    return {
        **{path: base.RULES[path] for path in HEALTH},
        **{f"/{name}{path}": rule for name in names for path, rule in below.items()},
    }


def open_together(folders: Mapping[str, Path]) -> tuple[Together, dict[str, Rule]]:
    """The app and the rules of several releases, by name.

    The code that answers is the installed one, not each Bento's own: so golden rows are replayed.

    Raises
    ------
    ConfigError
        If keys are configured and cannot be read.
    DataError
        If a release is not what was signed, or answers otherwise than at training time.
    """
    apps = {name: base.new_app() for name in folders}
    for name, folder in folders.items():
        difference = base.open_release(apps[name], folder).replay()
        if not difference <= TOLERANCE:
            raise DataError(
                f"{name}: golden rows are answered differently by the installed code: "
                f"{difference:.1e}, allowed {TOLERANCE:.0e}; package it again, or serve it alone"
            )
    pages = [app.state.pages for app in apps.values()]
    for page in pages:
        page.others = [Beside(p.release.model, p.bundle, p.lookup) for p in pages if p is not page]
    health = {name: app.state.health for name, app in apps.items()}
    return Together(apps, health), rules(apps)
