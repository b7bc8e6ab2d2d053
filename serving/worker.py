"""One process that serves one Bento on a socket of its parent, and leaves without losing a request.

It runs the code that travelled in the Bento, in whose folder it is started, over the release that
the Bento pins. BentoML itself, whose layers in front of the guard cost as much as a prediction and
whose start takes a second, is left out::

    parent ``serve.Server``  -- listening socket, lifeline -->  uvicorn > guard > routes

Over the lifeline, a pair of sockets, the worker says when it is ready. When its other end closes
the parent is gone, however it ended, and the worker leaves too.
"""

import argparse
import asyncio
import gc
import logging
import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson
import uvicorn

from serving import base
from serving.guard import Guard
from serving.protocol import Protocol

READY = b"ready"
SWITCH = 0.0005
"""Seconds that a prediction may have to wait for the interpreter while another thread explains."""
KEEP_ALIVE = 5
"""Seconds after which an idle connection is closed; leaving waits for that, and a second."""


class Worker(uvicorn.Server):
    """A server that tells its parent when it is ready, and drains before it ends.

    Parameters
    ----------
    notice
        Seconds between readiness dropping and the listener's end, for balancers to notice.
    """

    def __init__(
        self, config: uvicorn.Config, guard: Guard, lifeline: socket.socket, notice: float
    ) -> None:
        super().__init__(config)
        self._guard, self._lifeline, self._notice = guard, lifeline, notice

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._lifeline, self._parent_gone)
        self._lifeline.send(READY)

    def _parent_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what comes while readiness is down, then what is at work, then end.

        Idle connections are not cut: a request may be on its way. They end with their next reply,
        or by the keep-alive time like on any day.
        """
        self._guard.leaving = True
        await asyncio.sleep(self._notice)
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listener in server.sockets:
                loop.remove_reader(listener)
        await asyncio.sleep(0)  # a server that is closed drops what it accepted in this turn
        for server in self.servers:
            server.close()
        ends = loop.time() + KEEP_ALIVE + 1
        await asyncio.sleep(0.1)  # a connection accepted just now is not among them yet
        while self.server_state.connections and loop.time() < ends:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


class _Lines(logging.Formatter):
    """One JSON object a line, for programs that collect logs."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname, "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(told).decode()


def opened(releases: Sequence[str]) -> Guard:
    """The guard before one ``NAME=FOLDER``, or several that answer below their names."""
    folders = {name: Path(folder) for name, _, folder in (r.partition("=") for r in releases)}
    # XGBoost would import it for estimators that nobody asks for here: a second and a half.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    import xgboost  # noqa: F401

    del sys.modules["sklearn"]
    if len(releases) > 1:
        from serving.together import open_together

        app, rules = open_together(folders)
        guard = base.guarded(app, rules)
    else:
        alone = base.new_app()
        base.open_release(alone, next(iter(folders.values())))
        guard = base.guarded(alone)
    # What is loaded stays: a collection that looks at all of it would hold requests for 0.2 s.
    gc.collect()
    gc.freeze()
    return guard


def main() -> None:
    """Serve until told to leave."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--release", action="append", required=True, help="NAME=FOLDER, several")
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--notice", type=float, default=0.0)
    parser.add_argument("--certificate")
    parser.add_argument("--private-key")
    given = parser.parse_args()
    for variable in base.SETTINGS["envs"]:
        os.environ.setdefault(variable["name"], variable["value"])
    sys.setswitchinterval(SWITCH)
    said = logging.StreamHandler()
    said.setFormatter(_Lines())
    logging.basicConfig(level=logging.INFO, handlers=[said])
    guard = opened(given.release)
    config = uvicorn.Config(
        guard, loop="asyncio", http=Protocol, ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE,
        ssl_certfile=given.certificate, ssl_keyfile=given.private_key,
    )  # fmt: skip
    with socket.socket(fileno=given.listener) as listener:
        lifeline = socket.socket(fileno=given.lifeline)
        Worker(config, guard, lifeline, given.notice).run([listener])


if __name__ == "__main__":
    main()
