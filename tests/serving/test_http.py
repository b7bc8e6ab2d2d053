"""A real Bento, built and served as its own processes, asked over a real socket."""

import hashlib
import http.client
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from features.settings import Workspace
from serving import bento, keys, package, sbom
from serving.health import Health
from serving.package import Packaged
from serving.packaged import packaged
from serving.serve import Server
from tests.serving.conftest import Made
from tests.serving.test_package import approve
from training import predictions
from training.bundle import TOLERANCE
from training.keys import add_reviewer
from training.record import Record
from training.supervised.bundle import Bundle

pytestmark = pytest.mark.e2e

KEY = "key-of-the-shop"


@dataclass(frozen=True)
class Running:
    """The service under test."""

    place: Workspace
    made: Packaged
    server: Server
    seconds: float

    def ask(
        self, method: str, path: str, body: bytes = b"", key: str = KEY, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=120)
        sent = {"x-api-key": key, **{k.replace("_", "-"): v for k, v in headers.items()}}
        try:
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def rows(self, path: str, rows: list[Any]) -> Any:
        """POST rows, expect an answer."""
        body = json.dumps({"rows": rows}).encode()
        status, _, reply = self.ask("POST", path, body, content_type="application/json")
        assert status == 200, reply
        return json.loads(reply)


@pytest.fixture(scope="module")
def service(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The Bento of the small bundle, behind one API key, stopped at the end."""
    root = tmp_path_factory.mktemp("served")
    place = Workspace(
        store=root / "store", registry=root / "registry", keys=made.keys, data=None, configs=root
    )
    (root / "api_keys").write_text(hashlib.sha256(KEY.encode()).hexdigest())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keys.ENV, str(root / "api_keys"))
        approve(patch, made.folder, made.digest)
        done = package.package(place, "churn")
        add_reviewer(place.keys, "Ann")
        Record(place).append("approved", "churn", 3, made.digest, "Ann", "good")
        server = Server(place, packaged(place, "churn"), log_share=1.0)
        try:
            yield Running(place, done, server, server.wait_ready())
        finally:
            server.stop()
            assert server.process.poll() is not None
            logged = predictions.read(place, "churn", 3)
            assert {"request"} == set(logged["origin"]), "what waits is written at the end, too"


def test_golden_rows_come_back_over_http(
    service: Running, bundle: Bundle, rows: list[dict[str, Any]]
) -> None:
    """Python and HTTP agree to 1e-9 on every recorded number, explanations included."""
    golden = bundle.golden
    assert golden is not None
    predicted = service.rows("/predict", rows)
    assert (predicted["model"], predicted["version"]) == ("churn", 3)
    told = np.array([[p["churn_probability"], p["score"]] for p in predicted["predictions"]])
    assert np.abs(told - np.column_stack([golden.prediction, golden.score])).max() <= TOLERANCE
    for i, answer in enumerate(service.rows("/explain", rows)["explanations"]):
        moved = {item["feature"]: item["contribution"] for item in answer["contributions"]}
        difference = [moved[name] for name in bundle.columns] - golden.contributions[i]
        assert np.abs(difference).max() <= TOLERANCE
        assert abs(answer["base"] + sum(moved.values()) - told[i, 1]) < 1e-5


def test_bento_pins_its_model_and_carries_code_alone(service: Running) -> None:
    """The exact model tag is an argument of the Bento; no tests, data or other files travel."""
    folder = bento.folder(bento.home(service.place), "bentos", service.made.bento)
    pinned = Record(service.place).entries("churn")[0].evidence[bento.STORED]
    assert f"model: {pinned}" in (folder / "bento.yaml").read_text()
    assert bento.folder(bento.home(service.place), "models", pinned) == service.made.bundle.parent
    inside = [path.relative_to(folder / "src") for path in (folder / "src").rglob("*.*")]
    # What runs it compiles it there, unless Python is told not to.
    files = [path for path in inside if "__pycache__" not in path.parts]
    assert {path.parts[0] for path in files} == {
        "features",
        "training",
        "serving",
        "bentofile.yaml",
    }
    assert {path.suffix for path in files} == {".html", ".py", ".yaml", ".json", ".csv"}
    requirements = (folder / "env" / "python" / "requirements.txt").read_text().split()
    assert all("==" in line for line in requirements)
    listed = json.loads((folder / "src" / "serving" / sbom.SBOM).read_text())["components"]
    parts = {f"{part['name']}=={part['version']}" for part in listed}
    assert parts == {line.lower() for line in requirements}
    licences = (folder / "src" / "serving" / sbom.LICENCES).read_text().splitlines()
    assert len(licences) == len(parts) + 1
    assert f"{len(parts)} distributions" in service.ask("GET", "/page")[2].decode()
    assert "://" not in "".join(requirements)


def test_packaging_again_recognises_it(
    service: Running, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real Bento is whole: nothing is built twice."""
    approve(monkeypatch, made.folder, made.digest)
    again = package.package(service.place, "churn")
    assert (again.bento, again.fresh) == (service.made.bento, False)


def test_only_our_paths_answer(service: Running) -> None:
    """Health from BentoML, our routes, and none of the framework's other pages."""
    for path in ("/livez", "/readyz"):
        assert service.ask("GET", path, key="")[0] == 200
    for path in ("/healthz", "/model", "/openapi.json", "/docs", "/metrics"):
        assert service.ask("GET", path)[0] == 200
        assert service.ask("GET", path, key="wrong")[0] == 401
    for path in ("/static_content/swagger-ui-bundle.js", "/static_content/swagger-ui.css"):
        status, headers, body = service.ask("GET", path)
        assert (status, len(body) > 10_000) == (200, True)
        assert "html" not in headers["content-type"]
    for path in ("/", "/docs.json", "/schema.json", "/static_content/index.css", "/readyz/"):
        status, _, body = service.ask("GET", path)
        assert (status, json.loads(body)["code"]) == (404, "not_found")
    status, _, body = service.ask("POST", "/livez")
    assert (status, json.loads(body)["code"]) == (405, "method_not_allowed")


def test_bad_requests_over_a_socket(service: Running, rows: list[dict[str, Any]]) -> None:
    """Refused in one shape, whatever the transport does; a good request is unharmed."""
    kind = "application/json"
    before = service.rows("/predict", rows)["predictions"]
    for body, headers, expected in (
        (b"{", {"content_type": kind}, (400, "unreadable_body")),
        (b'{"rows":[{"S3CRET":1}]}', {"content_type": kind}, (422, "missing_field")),
        (b"S3CRET", {"content_type": "text/plain"}, (415, "unsupported_media_type")),
        (b"", {"content_type": kind, "host": "evil.example"}, (400, "unreadable_body")),
        (b" " * 1_200_000, {"content_type": kind}, (413, "body_too_large")),
        (b"{}", {"content_type": kind, "x_long": "a" * 20_000}, (431, "headers_too_large")),
    ):
        status, sent, reply = service.ask("POST", "/predict", body, **headers)
        assert (status, json.loads(reply)["code"]) == expected
        assert sent["x-request-id"] == json.loads(reply)["request_id"]
    assert service.rows("/predict", rows)["predictions"] == before
    assert "S3CRET" not in service.server.log.read_text()


def test_streamed_body_is_capped(service: Running) -> None:
    """A chunked body of 100 MB without a length is refused, and is never held in memory."""
    process = psutil.Process(service.server.process.pid)
    before = process.memory_info().rss
    connection = http.client.HTTPConnection(service.server.host, service.server.port, timeout=30)
    headers = {"content-type": "application/json", "x-api-key": KEY}
    try:
        chunks = (b" " * 65_536 for _ in range(1600))
        connection.request("POST", "/predict", chunks, headers, encode_chunked=True)
        reply = connection.getresponse()
        assert (reply.status, json.loads(reply.read())["code"]) == (413, "body_too_large")
    finally:
        connection.close()
    assert process.memory_info().rss - before < 30_000_000


def test_metrics_are_ours_and_write_no_files(service: Running) -> None:
    """Route templates only; BentoML's folder for metrics of many processes stays empty."""
    service.ask("GET", "/customers/42")
    text = service.ask("GET", "/metrics")[2].decode()
    assert 'perennial_requests_total{route="other"' in text
    assert "bentoml" not in text
    assert "customers" not in text
    left = bento.home(service.place) / "prometheus_multiproc_dir"
    assert not left.exists() or not list(left.iterdir())


SWAPS = 20 if os.environ.get("PERENNIAL_TEST_ALL") else 1


def test_versions_are_swapped_without_a_failed_request(
    service: Running, rows: list[dict[str, Any]]
) -> None:
    """Connections that are kept open ask on and on while the process behind the socket changes."""
    body = json.dumps({"rows": rows[:1]}).encode()
    headers = {"content-type": "application/json", "x-api-key": KEY}
    server, done = service.server, threading.Event()
    answered: list[int] = []

    def ask_on() -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        while not done.is_set():
            connection.request("POST", "/predict", body, headers)
            reply = connection.getresponse()
            reply.read()  # connects anew by itself where the reply said that it would close
            answered.append(reply.status)
            time.sleep(0.005)
        connection.close()

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(ask_on) for _ in range(4)]
        try:
            for _ in range(SWAPS):
                before = server.process.pid
                server.swap(service.made.bento)
                assert server.process.pid != before
                assert not psutil.pid_exists(before)
        finally:
            done.set()
        for one in asking:
            one.result()
    assert len(answered) >= (20_000 if SWAPS > 1 else 200)
    assert set(answered) == {200}


def test_a_worker_that_is_killed_is_started_again(
    service: Running, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects meanwhile waits; one that ends at once is given up."""
    before, server = service.server.process.pid, service.server
    monkeypatch.setattr("serving.serve.LASTS_SECONDS", 0.0)
    server.process.kill()
    with ThreadPoolExecutor(1) as client:
        waiting = client.submit(service.rows, "/predict", rows[:1])
        server.keep(30)
        assert len(waiting.result()["predictions"]) == 1
    assert server.process.pid != before
    assert server.keep(0.01) is None
    monkeypatch.setattr("serving.serve.LASTS_SECONDS", 1e9)


def test_changed_files_are_noticed_while_serving(service: Running) -> None:
    """`/readyz` tells; what is served stays what was signed."""
    model = service.made.bundle / "model.ubj"
    good, place = model.read_bytes(), service.place
    health = Health(service.made.bundle.parent, place.keys, date(2026, 1, 1))
    try:
        assert health.told["intact"]
        model.write_bytes(good[:-1] + b"!")
        health.look()
        assert not health.told["intact"]
        assert service.ask("GET", "/model")[0] == 200
    finally:
        health.close()
        model.write_bytes(good)
    told = json.loads(service.ask("GET", "/readyz", key="")[2])
    assert told["ready"]
    assert told["intact"]
    assert told["profiles_age_days"] is None


PARENT = """
import sys, time
from pathlib import Path
from features.settings import Workspace
from serving.address import Tls
from serving.serve import Server
place, tag = Workspace.model_validate_json(sys.argv[1]), sys.argv[2]
folder = Path(sys.argv[3])
tls = Tls(folder / "certificate.pem", folder / "private.pem")
server = Server(place, tag, tls=tls, also=(tag,))
server.wait_ready()
print(server.port, server.process.pid, flush=True)
time.sleep(600)
"""


def test_several_answer_below_their_names_until_their_parent_is_killed(
    service: Running, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Over TLS: one process and guard for all, which leaves with the one that started it."""
    certify(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, service.place.model_dump_json(), service.made.bento,
         str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(bento.__file__).parents[1])},
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        port, pid = map(int, parent.stdout.readline().split())
        trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusted, timeout=30)

        def ask(method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
            headers = {"x-api-key": KEY, "content-type": "application/json"}
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()

        status, told = ask("GET", "/readyz")
        assert (status, json.loads(told)["churn"]["intact"]) == (200, True)
        status, told = ask("POST", "/churn/predict", json.dumps({"rows": rows}).encode())
        answers = service.rows("/predict", rows)["predictions"]
        assert (status, json.loads(told)["predictions"]) == (200, answers)
        assert ask("GET", "/churn/metrics")[0] == 200
        assert b"openapi.json" in ask("GET", "/churn/docs")[1]
        for path in ("/predict", "/clv/predict", "/churn/livez", "/churn", "/churn/"):
            assert ask("GET", path)[0] == 404
        connection.close()
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        plain.request("GET", "/readyz")
        with pytest.raises((OSError, http.client.HTTPException)):
            plain.getresponse()
        plain.close()
        parent.kill()
        psutil.Process(pid).wait(30)
    finally:
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()


def certify(folder: Path) -> None:
    """A certificate of this machine, signed by itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(private.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    key = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    (folder / "private.pem").write_bytes(key)


def test_tampered_model_does_not_start(
    service: Running, tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed file is told before a process is started, and by the worker itself too."""
    from features.errors import DataError

    model = service.made.bundle / "model.ubj"
    good = model.read_bytes()
    logs = set((service.place.store / "logs").iterdir())
    model.write_bytes(good[:-1] + b"!")
    try:
        with pytest.raises(DataError, match=r"model\.ubj: changed since it was signed"):
            Server(service.place, service.made.bento)
        assert set((service.place.store / "logs").iterdir()) == logs
        monkeypatch.setattr("serving.release.verify", lambda *_: None)
        server = Server(service.place, service.made.bento)
        begun = time.monotonic()
        try:
            with pytest.raises(DataError, match="did not start") as told:
                server.wait_ready()
        finally:
            server.stop()
        assert "changed since it was signed" in str(told.value)
        assert time.monotonic() - begun < 60
    finally:
        model.write_bytes(good)
    assert service.ask("GET", "/readyz")[0] == 200
