"""Servers for the tests that need real ones: PostgreSQL, MariaDB, and the S3 interface."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
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
    base = Path(tempfile.mkdtemp(prefix="perennial-pg-", dir="/tmp"))  # noqa: S108  short names
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


@pytest.fixture
def mariadb() -> Iterator[str]:
    """A MariaDB server of our own, on a socket in a temporary folder, with a database ``shop``."""
    pymysql = pytest.importorskip(
        "pymysql", reason="the driver of the extra `mysql` is not installed"
    )
    paths = f"{os.environ['PATH']}:/usr/sbin"
    server, install = (shutil.which(k, path=paths) for k in ("mariadbd", "mariadb-install-db"))
    if server is None or install is None:
        pytest.skip("no MariaDB server is installed")
    base = Path(f"/tmp/perennial-maria-{os.getpid()}")  # noqa: S108  socket names are short
    base.mkdir(mode=0o700)
    user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(base, **user)
    own = ["--no-defaults", f"--datadir={base / 'data'}"]
    options: dict[str, Any] = {"cwd": base, **user}
    subprocess.run(
        [install, *own, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True, capture_output=True, **options,
    )  # fmt: skip
    small = ["--skip-networking", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M"]
    command = [server, *own, f"--socket={base / 's'}", f"--pid-file={base / 'pid'}", *small]
    with (base / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        while not (base / "s").exists() and running.poll() is None:
            time.sleep(0.05)
        with pymysql.connect(unix_socket=str(base / "s"), user="root") as connection:
            connection.cursor().execute("CREATE DATABASE shop")
        yield f"mysql://root@localhost/shop?unix_socket={base / 's'}"
    finally:
        running.kill()
        running.wait()
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The S3 interface of a server of our own, told by the environment, with a bucket ``shop``."""
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "of-tests",
        "AWS_SECRET_ACCESS_KEY": "hidden-of-tests", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="shop")
    try:
        yield client
    finally:
        running.stop()
