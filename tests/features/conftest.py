"""A PostgreSQL server for the tests that need a real one."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of our own, on a socket in a temporary folder."""
    pytest.importorskip("psycopg", reason="the driver of the extra `postgres` is not installed")
    found = shutil.which("postgres")
    bins = [*Path("/usr/lib/postgresql").glob("*/bin"), *([Path(found).parent] if found else [])]
    homes = [b for b in bins if (b / "initdb").exists() and (b / "postgres").exists()]
    if not homes:
        pytest.skip("no PostgreSQL server is installed")
    base = Path(f"/tmp/perennial-pg-{os.getpid()}")  # noqa: S108  socket names are short
    base.mkdir(mode=0o700)
    # The server refuses to run as root.
    user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(base, **user)
    options: dict[str, Any] = {"check": True, "capture_output": True, "cwd": base, **user}
    command = [homes[0] / "initdb", "-D", base / "data", "-U", "t", "-A", "trust", "--no-sync"]
    subprocess.run(command, **options)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = f"-F -k {base} -p {port} -c listen_addresses="
    control = [homes[0] / "pg_ctl", "-D", base / "data", "-w", "-l", base / "log"]
    subprocess.run([*control, "-o", settings, "start"], **options)
    try:
        yield f"postgresql://t@/postgres?host={base}&port={port}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **options)
        shutil.rmtree(base, ignore_errors=True)
