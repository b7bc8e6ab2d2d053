"""Raw files read as in a build, without the start of an interpreter for each of them."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
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


@contextmanager
def reading_forked() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """A ``run`` that reads each file in a process forked off one that has imported the reader."""
    command = [sys.executable, "-c", "from tests.reading import fork_each; fork_each()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        asked, told = server.stdin, server.stdout

        def run(_: Any, input: str, **__: Any) -> subprocess.CompletedProcess[str]:
            asked.write(input + "\n")
            asked.flush()
            reply, code = told.readline(), told.readline()
            return subprocess.CompletedProcess([], int(code), reply, "")

        yield run


def fork_each() -> None:
    """Answer every line of the input in a process of its own, with its exit code on a second."""
    for request in iter(sys.stdin.readline, ""):
        child = os.fork()
        if not child:
            sys.stdin = io.StringIO(request)
            staging.main()
            sys.stdout.flush()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"\n{code}\n")
        sys.stdout.flush()
