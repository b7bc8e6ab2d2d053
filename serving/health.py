"""Whether what is served is still what was signed, and how old it is: the reply of ``/readyz``."""

import logging
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import Request, Response

from features.errors import DataError
from serving import background, release

if TYPE_CHECKING:
    from serving.lookup import Lookup

log = logging.getLogger("perennial")

SECONDS = 60.0
"""Between two looks at the files."""


class Health:
    """Looks at a release's files again while its bundle is served from memory.

    Files that were changed do not end the service: what it answers with was verified. They would
    be refused at the next start, so ``/readyz`` and the log tell.

    Parameters
    ----------
    keys
        Folder with the verifying key.
    learned
        The model's cutoff.
    """

    def __init__(
        self, folder: Path, keys: Path, learned: date, lookup: "Lookup | None" = None
    ) -> None:
        self._folder, self._keys, self._learned, self._lookup = folder, keys, learned, lookup
        self.intact = True
        self._profiles: float | None = None
        self.look()
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="health", daemon=True).start()

    def _run(self) -> None:
        background.stand_back()
        while not self._stop.wait(SECONDS):
            self.look()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()

    def look(self) -> None:
        """Verify the files, and see how old the profiles are."""
        try:
            release.verify(self._folder, self._keys)
        except (DataError, OSError, ValueError):
            if self.intact:
                log.exception("%s is not what was signed any more; it is still served from memory",
                              self._folder.name)  # fmt: skip
            self.intact = False
        else:
            self.intact = True
        published = self._lookup.published() if self._lookup else None
        self._profiles = None if published is None else published["age_days"]

    @property
    def told(self) -> dict[str, Any]:
        """What ``/readyz`` says."""
        age = (datetime.now(UTC).date() - self._learned).days
        return {
            "ready": True, "intact": self.intact, "model_age_days": age,
            "profiles_age_days": self._profiles,
        }  # fmt: skip

    async def ready(self, _: Request) -> Response:
        """The reply of ``/readyz``; a service that is about to end has the guard say so."""
        return Response(orjson.dumps(self.told), media_type="application/json")
