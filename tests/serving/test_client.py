"""The client: what it asks is answered, what is refused is told, and the documented lines work."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import serving
from features.settings import Workspace
from serving import base
from serving.client import Client, ServiceError
from serving.guard import Guard
from serving.release import Release
from tests.serving.asgi import listening
from tests.serving.conftest import NAMES
from tests.serving.echo import ACCESS, KEY
from tests.serving.test_lookup import PEOPLE, at, published
from training.supervised.bundle import Bundle

assert published, "the fixture with profiles of three customers"
DOCS = (Path(serving.__path__[0]).parent / "docs" / "serving.md").read_text()
DOCUMENTED = "http://127.0.0.1:3000"


@pytest.fixture
def address(
    published: Workspace,  # noqa: F811
    bundle: Bundle,
    statement: Release,
) -> Iterator[str]:
    """The service with profiles behind a key, on a socket."""
    app = base.make_app(bundle, statement, at(published, 1))
    with listening(Guard(app, base.RULES, ACCESS)) as found:
        yield found


def test_what_is_asked_is_answered(
    address: str, bundle: Bundle, rows: list[dict[str, Any]]
) -> None:
    """Rows, customers, an earlier prediction and a change; numbers as in Python."""
    assert bundle.golden is not None
    with Client(address, KEY) as client:
        reply = client.predict(rows=rows)
        assert [a["churn_probability"] for a in reply.answers] == bundle.golden.prediction.tolist()
        assert (reply.model, reply.version, reply.said["threshold"]) == ("churn", 3, 0.4)
        why = client.explain(prediction=reply.request_id, language="zh")
        assert [a["score"] for a in why.answers] == [a["score"] for a in reply.answers]
        assert client.predict(customers=PEOPLE).warnings == []
        changed = client.what_if({"rows": rows[:1]}, {NAMES[1]: 0.0})
        assert changed["before"]["score"] == reply.answers[0]["score"] != changed["after"]["score"]
        assert client.model()["question"] == bundle.answer.question


def test_a_refusal_is_an_error_with_its_parts(address: str, rows: list[dict[str, Any]]) -> None:
    """The service's own words, and nothing is sent where the question is none."""
    with Client(address, KEY) as client:
        with pytest.raises(ServiceError, match="422 missing_field") as told:
            client.predict(rows=[{}])
        assert (told.value.status, told.value.field) == (422, f"rows[0].{NAMES[0]}")
        assert len(told.value.request_id) > 8
        for wrong in ({}, {"rows": rows, "customers": PEOPLE}):
            with pytest.raises(ValueError, match="one of them"):
                client.predict(**wrong)  # type: ignore[arg-type]
    with Client(address, "wrong") as stranger, pytest.raises(ServiceError, match="401"):
        stranger.model()
    with pytest.raises(ValueError, match="expected http"):
        Client("models.example:3000")


def test_a_busy_service_is_asked_again() -> None:
    """As often as it was said, and after the time that the service names."""
    asked: list[str] = []

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        status = 200 if len(asked) == 3 else 503
        body = json.dumps({"code": "overloaded", "message": "busy"}).encode()
        headers = [(b"retry-after", b"0"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    with listening(busy) as address:
        with Client(address + "/churn") as client:
            assert client.ask("/x", {})["code"] == "overloaded"
        assert asked == ["/churn/x"] * 3
        asked.clear()
        with Client(address, tries=2) as client, pytest.raises(ServiceError, match="503 overl"):
            client.ask("/x", {})
        assert len(asked) == 2


def test_it_is_one_file_that_needs_python_alone(tmp_path: Path) -> None:
    """Copied away and imported without any package."""
    shutil.copy(Path(serving.__path__[0]) / "client.py", tmp_path / "perennial_client.py")
    subprocess.run(
        [sys.executable, "-I", "-S", "-c",
         f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import perennial_client"],
        check=True,
    )  # fmt: skip


def blocks(language: str) -> list[str]:
    """The examples of the documentation."""
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


def test_the_documented_example_runs(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands, but for address and key."""
    (example,) = blocks("python")
    exec(example.replace(DOCUMENTED, address).replace("KEY", KEY), {})
    assert "churn_probability" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_documented_curl_lines_are_answered(address: str) -> None:
    """As they stand, but for address and key."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if "curl" in line]
    assert len(lines) >= 3
    for line in lines:
        shown = line.replace(DOCUMENTED, address).replace("KEY", KEY)
        done = subprocess.run(["sh", "-c", shown], capture_output=True, check=True)
        assert json.loads(done.stdout)["model"] == "churn"
