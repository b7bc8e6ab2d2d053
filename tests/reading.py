"""Raw files read in the test's own process: what a build does, without the start of a child."""

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from features import staging


@contextmanager
def reading_here() -> Iterator[None]:
    """Files are read by the child's own code, one after the other."""
    alone = threading.Lock()

    def run(_: Any, input: str, **__: Any) -> subprocess.CompletedProcess[str]:
        reply = io.StringIO()
        with alone, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.StringIO(input))
            patch.setattr(sys, "stdout", reply)
            patch.setattr("features.staging.resource.setrlimit", lambda *_: None)
            staging.main()
        return subprocess.CompletedProcess([], 0, reply.getvalue(), "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "subprocess", SimpleNamespace(run=run))
        yield
