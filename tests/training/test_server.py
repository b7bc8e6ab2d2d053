"""A registry behind an MLflow server: runs, decisions and webhooks over HTTP."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest
from matplotlib.figure import Figure

from features.settings import Workspace
from tests.training.finished import MARKS, Runs, coded, drawn, planned
from tests.worlds import CONFIGS
from training import pack, review, versions
from training.runs import run
from training.tracker import client, review_folder

pytestmark = [*MARKS[1:], pytest.mark.e2e, pytest.mark.slow]  # some fifty files over HTTP


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """An MLflow server on loopback with a database and artifacts of its own."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Only so that this test can listen on loopback.
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", url.rpartition(":")[2],
         "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--workers", "1",
         "--artifacts-destination", str(tmp_path / "kept")],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(900):
            try:
                urlopen(f"{url}/health").read()  # noqa: S310  our own server
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """Somebody who listens: the URL, and what was told, by kind of event."""
    told: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Keep what happened to what."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append(f"{body['entity']} {body['data'].get('alias', '')}".strip())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    listener = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}/hook", told
    listener.shutdown()
    listener.server_close()


def test_runs_and_decisions_go_to_a_server(
    runs: Runs,
    server: str,
    heard: tuple[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Registered, looked at, approved and loaded by URL; the server's webhooks hear of it."""
    monkeypatch.setattr(Figure, "savefig", drawn)
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))
    monkeypatch.setenv("PERENNIAL_TRACKING_URI", server)
    for variable, path in (
        ("PERENNIAL_STORE", runs.place.store), ("PERENNIAL_REGISTRY", tmp_path / "registry"),
        ("PERENNIAL_KEYS_DIR", runs.place.keys),
    ):  # fmt: skip
        monkeypatch.setenv(variable, str(path))
    place = Workspace.locate(configs=CONFIGS)
    url, told = heard
    client(place).create_webhook("decisions", url, ["model_version_alias.created"])
    done = run(place, planned(place))
    assert done.version == 1
    review.approve(place, "churn", 1, "Ada", "good")
    assert versions.bundle_at(place, versions.approved(place, "churn").folder).replay() <= 1e-9
    assert (review_folder(place, "churn", 1) / "report.html").is_file()
    assert not (place.registry / "artifacts").exists()  # the server keeps them
    for _ in range(50):
        if "model_version_alias champion" in told:
            break
        time.sleep(0.2)
    assert "model_version_alias champion" in told
