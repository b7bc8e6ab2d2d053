"""The audit: one line for each request, who asked for what and how it ended, and no value of it."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson
from starlette.types import Scope

from serving.metrics import OTHER

AUDIT = "PERENNIAL_AUDIT_FILE"
"""Environment: file that the audit lines go to."""


def open_audit() -> Callable[[bytes], object]:
    """Appends lines to the file that ``PERENNIAL_AUDIT_FILE`` names; without one to the output."""
    named = os.environ.get(AUDIT)
    if not named:
        return lambda line: os.write(1, line)
    Path(named).parent.mkdir(parents=True, exist_ok=True)
    # Whole lines: one write each, at the end of the file wherever other processes have left it.
    file = os.open(named, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return lambda line: os.write(file, line)


def line(scope: Scope, path: str, status: int, seconds: float) -> bytes:
    """What the audit says of a request; no value of it, and the caller by hash."""
    state = scope["state"]
    told = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": state["request_id"], "caller": state.get("caller", "")[:16],
        "method": scope["method"] if path != OTHER else "", "path": path, "status": status or 500,
        "ms": round(seconds * 1e3, 2),
    }  # fmt: skip
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
