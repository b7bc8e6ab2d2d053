"""Further processes of this machine that work on the search of a run, as other machines may."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.engine import available_threads
from features.errors import ConfigError
from features.settings import Workspace
from training.pipeline import AnyPlan, resolved_yaml

log = logging.getLogger("perennial")

WORKERS = "PERENNIAL_WORKERS"
"""Processes that work on a search, the run's own among them; 1 if not set."""


@contextmanager
def workers(place: Workspace, plan: AnyPlan, together: int, study: Path) -> Iterator[None]:
    """Begin ``PERENNIAL_WORKERS`` - 1 processes that join the search; end them afterwards.

    Parameters
    ----------
    together
        Trials that can be worked on at once: more processes would wait.
    study
        File that the settings are written beside.

    Raises
    ------
    ConfigError
        If the variable is no number.
    """
    said = os.environ.get(WORKERS) or "1"
    if not said.isdecimal() or said == "0":
        raise ConfigError(f"{WORKERS}={said!r}: expected the number of processes, such as 4")
    count = min(int(said), together)
    if count == 1:
        yield
        return
    settings = study.with_suffix(".yaml")
    settings.write_text(resolved_yaml(plan))
    command = [sys.executable, "-m", "training", "search", str(settings)]
    command += ["--store", str(place.store), "--registry", str(place.registry)]
    command += ["--data-dir", str(place.data)] if place.data else []
    env = os.environ | {
        WORKERS: "1",
        "PERENNIAL_THREADS": str(max(1, available_threads() // count)),
    }
    heard = study.with_suffix(".log")
    with heard.open("w") as stream:
        running = [
            subprocess.Popen(command, env=env, stdout=stream, stderr=stream)
            for _ in range(count - 1)
        ]
    for process in running:
        threading.Thread(target=_watch, args=(process, heard), daemon=True).start()
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        settings.unlink()
        heard.unlink()


def _watch(process: "subprocess.Popen[bytes]", heard: Path) -> None:
    """Wait for a worker, so that a dead one is known to be dead, and say if it failed."""
    if process.wait() > 0:
        said = heard.read_text().strip().splitlines() if heard.exists() else []
        log.warning("a worker ended with code %d: %s", process.returncode, " ".join(said[-1:]))
