"""Serve a packaged Bento on this machine: start it, wait until it answers, swap it, stop it."""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from features.errors import DataError
from features.settings import Workspace
from serving import bento
from serving.address import LOOPBACK, Tls, check_tls, checked_host, listening
from serving.packaged import pinned

log = logging.getLogger("perennial")

READY_SECONDS = 90.0
STOP_SECONDS = 20.0
_SAY_SECONDS = 5.0
LASTS_SECONDS = 10.0
"""A worker that ends sooner would do so again."""


class Worker:
    """A process that answers on a listening socket; see :mod:`serving.worker`."""

    def __init__(
        self, tags: Sequence[str], what: Sequence[str], listener: socket.socket, log: Path,
        code: Path, environment: dict[str, str],
    ) -> None:  # fmt: skip
        self.tags = tuple(tags)
        self.lifeline, theirs = socket.socketpair()
        command = [
            *(sys.executable, "-m", "serving.worker", *what),
            *("--listener", str(listener.fileno()), "--lifeline", str(theirs.fileno())),
        ]
        with theirs, log.open("ab") as stream:
            # A session of its own: Ctrl-C reaches this process, which stops the other in order.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                env=environment, cwd=code,
                start_new_session=True, pass_fds=(listener.fileno(), theirs.fileno()),
            )  # fmt: skip

    def ready(self, seconds: float) -> bool | None:
        """Whether it answers, after ``seconds`` at most; None where it cannot say yet."""
        self.lifeline.settimeout(seconds)
        try:
            return bool(self.lifeline.recv(16))
        except TimeoutError:
            return None
        except OSError:
            return False

    def stop(self) -> None:
        """Let it finish what it is doing and end; kill it after 20 s."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.lifeline.close()


class Server:
    """A served Bento: a listening socket, and the process that answers on it.

    The socket outlives the process: while another version takes its place, and where it has ended
    by itself, connections wait and none is refused.

    Parameters
    ----------
    tag
        Exact tag of the Bento.
    host
        IP address to listen on; any but a loopback address needs keys.
    port
        Port; 0 = any that is free.
    log_share
        Share of the requests that go to the prediction log in the registry.
    tls
        None = connections are not encrypted.
    notice
        Seconds between readiness dropping and the listener's end.
    also
        Bentos that are served by the same process; each then answers below its model's name.

    Raises
    ------
    ConfigError
        If the address is not allowed, taken, or keys or certificate cannot be read.
    DataError
        If the Bento or its model is not what was packaged, or does not start.
    """

    def __init__(
        self,
        place: Workspace,
        tag: str,
        host: str = LOOPBACK,
        port: int = 0,
        log_share: float = 0.0,
        tls: Tls | None = None,
        notice: float = 0.0,
        also: Sequence[str] = (),
    ) -> None:
        self.place, self.host = place, checked_host(host, place.keys)
        for each in (tag, *also):
            self._verified(each)
        options = ["--notice", str(notice)]
        if tls:
            check_tls(tls)
            options += ["--certificate", str(tls.certificate.absolute())]
            options += ["--private-key", str(tls.private_key.absolute())]
        self._options = options
        self._listener = listening(self.host, port)
        self.port = int(self._listener.getsockname()[1])
        written = f"[{self.host}]" if ":" in self.host else self.host
        self.address = f"{'https' if tls else 'http'}://{written}:{self.port}"
        model = "-".join(each.partition(":")[0] for each in (tag, *also))
        self.log = place.store / "logs" / f"{model}-{self.port}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        own = {
            "PERENNIAL_KEYS_DIR": str(place.keys),
            "PERENNIAL_STORE": str(place.store),
            "PERENNIAL_REGISTRY": str(place.registry),
            "PERENNIAL_LOG_SHARE": str(log_share),
            "PERENNIAL_AUDIT_FILE": str(place.registry / "audit" / f"{model}.jsonl"),
        }
        self._environment = bento.environment(bento.home(place)) | own
        self.worker = self._started((tag, *also))

    @property
    def tag(self) -> str:
        """The Bento that answers, or all of them."""
        return " ".join(self.worker.tags)

    @property
    def models(self) -> list[str]:
        """What is served."""
        return [tag.partition(":")[0] for tag in self.worker.tags]

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that answers."""
        return self.worker.process

    def wait_ready(self, seconds: float = READY_SECONDS) -> float:
        """Wait until the worker answers; return the seconds that it took.

        Raises
        ------
        DataError
            If it ends or is not ready in time; with the end of its log.
        """
        return self._wait_ready(self.worker, seconds)

    def swap(self, *tags: str) -> None:
        """Put others in the place of the Bento, or Bentos, that answer; no request notices.

        Both listen on one socket for a moment; then the first finishes what it has.

        Raises
        ------
        ConfigError, DataError
            If the other is not what was packaged or does not start: the first goes on answering.
        """
        for tag in tags:
            self._verified(tag)
        new = self._started(tags)
        try:
            self._wait_ready(new, READY_SECONDS)
        except DataError:
            new.stop()
            raise
        old, self.worker = self.worker, new
        old.stop()

    def keep(self, seconds: float) -> None:
        """Wait so long; a worker that ends by itself meanwhile is started again.

        Raises
        ------
        DataError
            If it has not lasted for 10 s; with the end of its log.
        """
        if self.worker.ready(seconds) is None:
            return
        code = self.worker.process.wait()
        if time.monotonic() - self._since < LASTS_SECONDS:
            raise DataError.listing(
                f"{self.tag} ended with code {code}; the end of {self.log} says", self.last_lines()
            )
        log.error("%s ended with code %d and is started again", self.tag, code)
        self.worker.stop()
        self.worker = self._started(self.worker.tags)
        self.wait_ready()

    def stop(self) -> None:
        """Let the service finish what it is doing and end."""
        self.worker.stop()
        self._listener.close()

    def last_lines(self, count: int = 8) -> list[str]:
        """The end of the log, each line once, without the frames of stack traces."""
        lines = dict.fromkeys(self.log.read_text(errors="replace").splitlines())
        frames = ("  File ", "    ", "Traceback ")
        return [line for line in lines if line.strip() and not line.startswith(frames)][-count:]

    def _verified(self, tag: str) -> Path:
        from serving import release

        stored = bento.folder(bento.home(self.place), "models", pinned(self.place, tag))
        release.verify(stored, self.place.keys)
        return stored

    def _started(self, tags: Sequence[str]) -> Worker:
        code = bento.folder(bento.home(self.place), "bentos", tags[0]) / "src"
        if len(tags) > 1:  # one process has one code, and Bentos may differ in theirs
            code = Path(__file__).parents[1]
        releases = [f"{tag.partition(':')[0]}={self._verified(tag)}" for tag in tags]
        what = [word for release in releases for word in ("--release", release)]
        return Worker(
            tags, [*what, *self._options], self._listener, self.log, code, self._environment
        )

    def _wait_ready(self, worker: Worker, seconds: float) -> float:
        begun, waited = time.monotonic(), 0.0
        while waited < seconds:
            ready = worker.ready(min(_SAY_SECONDS, seconds - waited))
            waited = time.monotonic() - begun
            if ready:
                self._since = time.monotonic()
                log.info("      %s is ready at %s after %.1f s", self.tag, self.address, waited)
                return waited
            if ready is False:
                break
            log.info("      waiting for %s, %.0f s so far", self.address, waited)
        raise DataError.listing(
            f"{' '.join(worker.tags)} did not start; the end of {self.log} says", self.last_lines()
        )


@contextmanager
def running(place: Workspace, tag: str, host: str = LOOPBACK, port: int = 0) -> Iterator[str]:
    """The address of the Bento, served and ready; stopped afterwards.

    Raises
    ------
    ConfigError, DataError
        As :class:`Server` and :meth:`Server.wait_ready`.
    """
    server = Server(place, tag, host, port)
    try:
        server.wait_ready()
        yield server.address
    finally:
        server.stop()
