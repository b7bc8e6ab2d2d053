"""Start a packaged Bento on this machine, wait until it answers, stop it with all its processes."""

import http.client
import ipaddress
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from features.errors import ConfigError, DataError, NotApproved
from features.settings import Workspace
from serving import bento, keys
from training.record import Record, champion

log = logging.getLogger("perennial")

LOOPBACK = "127.0.0.1"
READY_SECONDS = 90.0
STOP_SECONDS = 20.0
_POLL_SECONDS = 0.1
_SAY_SECONDS = 5.0
_ALONE_SECONDS = 1.5
"""So long without its worker, BentoML has one that cannot start; it would try again for ever."""


def packaged(place: Workspace, model: str) -> str:
    """The Bento of the model's champion, as the record has it.

    Raises
    ------
    NotApproved
        If no version is approved.
    ConfigError
        If the champion was not packaged, or its Bento is gone.
    """
    entries = Record(place).entries(model)
    standing = champion(entries)
    if standing is None:
        raise NotApproved(
            f"model {model!r} has no approved version in {place.registry}; "
            f"look at one with `python -m training review {model}` and approve it"
        )
    for entry in reversed(entries):
        tag = str(entry.evidence.get("bento", ""))
        same = (entry.version, entry.digest) == (standing.version, standing.digest)
        if entry.event == "checked" and same and tag and bento.built(bento.home(place), tag):
            return tag
    raise ConfigError(
        f"{model!r} version {standing.version} is approved and not packaged in {place.store}: "
        f"run `python -m serving package {model}`"
    )


class Server:
    """A served Bento: one BentoML process and its worker.

    Parameters
    ----------
    tag
        Exact tag of the Bento.
    host
        IP address to listen on; any but a loopback address needs API keys.
    port
        Port; 0 = any that is free.
    log_share
        Share of the requests that go to the prediction log in the registry.

    Raises
    ------
    ConfigError
        If the address is not allowed, taken, or the API keys cannot be read.
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
    ) -> None:
        from serving import release

        host = _checked_host(host, place.keys)
        home = bento.home(place)
        release.verify(bento.folder(home, "models", _pinned(place, tag)), place.keys)
        self.tag, self.host, self.port = tag, host, _free_port(host, port)
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self.log = place.store / "logs" / f"{tag.replace(':', '-')}-{self.port}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "bentoml",
            "serve",
            tag,
            "--host",
            host,
            "--port",
            str(self.port),
        ]
        own = {
            "PERENNIAL_KEYS_DIR": str(place.keys),
            "PERENNIAL_STORE": str(place.store),
            "PERENNIAL_REGISTRY": str(place.registry),
            "PERENNIAL_LOG_SHARE": str(log_share),
        }
        environment = bento.environment(home) | own
        with self.log.open("wb") as stream:
            # A session of its own: Ctrl-C reaches this process, which stops the other in order.
            self.process = subprocess.Popen(
                [*command, "--api-workers", "1"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=home,
                start_new_session=True,
            )

    def wait_ready(self, seconds: float = READY_SECONDS) -> float:
        """Wait until ``/readyz`` answers 200; return the seconds that it took.

        Raises
        ------
        DataError
            If the service ends, loses its worker or is not ready in time; with the end of its log.
        """
        begun = said = time.monotonic()
        worker_seen: float | None = None
        while (now := time.monotonic()) - begun < seconds:
            if self._answers():
                log.info(
                    "      %s is ready at %s after %.1f s", self.tag, self.address, now - begun
                )
                return now - begun
            if self._children():
                worker_seen = now
            alone = worker_seen is not None and now - worker_seen > _ALONE_SECONDS
            if alone or self.process.poll() is not None:
                break
            if now - said > _SAY_SECONDS:
                log.info("      waiting for %s/readyz, %.0f s so far", self.address, now - begun)
                said = now
            time.sleep(_POLL_SECONDS)
        raise DataError.listing(
            f"{self.tag} did not start; the end of {self.log} says", self.last_lines()
        )

    def wait(self) -> None:
        """Wait until the service ends by itself.

        Raises
        ------
        DataError
            Always, since it should not; with the end of its log.
        """
        code = self.process.wait()
        raise DataError.listing(
            f"{self.tag} ended with code {code}; the end of {self.log} says", self.last_lines()
        )

    def stop(self) -> None:
        """Let the service finish what it is doing and end; kill what is left after 20 s."""
        family = self._children()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for process in psutil.wait_procs(family, timeout=2.0)[1]:
            process.kill()

    def last_lines(self, count: int = 8) -> list[str]:
        """The end of the log, each line once, without the frames of stack traces."""
        lines = dict.fromkeys(self.log.read_text(errors="replace").splitlines())
        frames = ("  File ", "    ", "Traceback ")
        return [line for line in lines if line.strip() and not line.startswith(frames)][-count:]

    def _children(self) -> list[psutil.Process]:
        try:
            return [
                p
                for p in psutil.Process(self.process.pid).children(recursive=True)
                if p.status() != psutil.STATUS_ZOMBIE
            ]
        except psutil.NoSuchProcess:
            return []

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=0.5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


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


def _pinned(place: Workspace, tag: str) -> str:
    """The model that a Bento pins, as packaging noted it."""
    for entry in reversed(Record(place).entries(tag.partition(":")[0])):
        if entry.evidence.get("bento") == tag and bento.STORED in entry.evidence:
            return str(entry.evidence[bento.STORED])
    raise ConfigError(
        f"no Bento {tag!r} was packaged from {place.registry}: "
        "run `python -m serving package MODEL`"
    )


def _checked_host(host: str, folder: Path) -> str:
    host = LOOPBACK if host == "localhost" else host
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ConfigError(f"--host {host!r}: expected an IP address, such as {LOOPBACK}") from None
    if keys.read_hashes(folder) is None and not local:
        raise ConfigError(
            f"--host {host}: other machines could ask without a key. Configure API keys first: one "
            f"SHA-256 in hex a line in {folder / keys.FILE}, or in the file that {keys.ENV} names; "
            f"or stay on {LOOPBACK}"
        )
    return host


def _free_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot listen on {host} port {port}: {error}; choose another with --port"
            ) from None
        return int(probe.getsockname()[1])
