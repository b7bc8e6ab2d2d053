"""A real Bento, built and served as its own processes, asked over a real socket."""

import hashlib
import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from features.settings import Workspace
from serving import bento, keys, package
from serving.package import Packaged
from serving.serve import Server, packaged
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
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
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
            family = [psutil.Process(server.process.pid), *server._children()]
            server.stop()
            assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
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
    files = [path.relative_to(folder / "src") for path in (folder / "src").rglob("*.*")]
    assert {path.parts[0] for path in files} == {
        "features",
        "training",
        "serving",
        "bentofile.yaml",
    }
    assert {path.suffix for path in files} == {".py", ".yaml"}
    requirements = (folder / "env" / "python" / "requirements.txt").read_text().split()
    assert all("==" in line for line in requirements)
    assert "http" not in "".join(requirements)


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
    family = psutil.Process(service.server.process.pid).children(recursive=True)
    before = sum(process.memory_info().rss for process in family)
    connection = http.client.HTTPConnection(service.server.host, service.server.port, timeout=30)
    headers = {"content-type": "application/json", "x-api-key": KEY}
    try:
        chunks = (b" " * 65_536 for _ in range(1600))
        connection.request("POST", "/predict", chunks, headers, encode_chunked=True)
        reply = connection.getresponse()
        assert (reply.status, json.loads(reply.read())["code"]) == (413, "body_too_large")
    finally:
        connection.close()
    assert sum(process.memory_info().rss for process in family) - before < 30_000_000


def test_metrics_are_ours_and_write_no_files(service: Running) -> None:
    """Route templates only; BentoML's folder for metrics of many processes stays empty."""
    service.ask("GET", "/customers/42")
    text = service.ask("GET", "/metrics")[2].decode()
    assert 'perennial_requests_total{route="other"' in text
    assert "bentoml" not in text
    assert "customers" not in text
    left = bento.home(service.place) / "prometheus_multiproc_dir"
    assert not left.exists() or not list(left.iterdir())


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
