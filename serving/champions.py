"""Champions that go on answering: workers that end are started again, new champions swapped in."""

import logging
import threading
from collections.abc import Sequence
from typing import NoReturn

from features.errors import PerennialError
from features.settings import Workspace
from serving.packaged import packaged
from serving.serve import Server

log = logging.getLogger("perennial")


def keep(servers: Sequence[Server], place: Workspace, wanted: threading.Event) -> NoReturn:
    """Keep them running, and let new champions answer whenever it is ``wanted``."""
    while True:
        for server in servers:
            server.keep(seconds=1.0 / len(servers))
        if wanted.is_set():
            wanted.clear()
            for server in servers:
                _swap(server, place)


def _swap(server: Server, place: Workspace) -> None:
    """Let champions answer; what cannot be served is told, and the ones before go on."""
    try:
        server.swap(*(packaged(place, model) for model in server.models))
    except PerennialError as error:
        log.error("%s goes on answering: %s", server.tag, error)
    else:
        log.info("%s answers now", server.tag)
