"""The door and the process: what is refused before anything starts, and what a service imports."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import serving
from features.errors import ConfigError, NotApproved
from features.settings import Workspace
from serving import bento, keys
from serving.__main__ import app
from serving.address import checked_host, listening
from serving.packaged import packaged
from serving.serve import Server
from training.keys import add_reviewer
from training.record import Record

DIGEST = "d" * 64


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keys.ENV, raising=False)


def note(place: Workspace, event: Any, version: int, tag: str = "", digest: str = DIGEST) -> None:
    """An entry of the record; a Bento that it names is there."""
    add_reviewer(place.keys, "Ann")
    evidence = {"bento": tag, bento.STORED: "churn:m"} if tag else {}
    Record(place).append(event, "churn", version, digest, "Ann", "because", evidence)
    if tag:
        folder = bento.folder(bento.home(place), "bentos", tag)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bento.yaml").touch()


def test_champion_s_bento_is_served(workplace: Workspace) -> None:
    """The newest check of the approved version and digest counts; other versions do not."""
    note(workplace, "approved", 1)
    note(workplace, "checked", 1, "churn:old")
    note(workplace, "checked", 1, "churn:new")
    note(workplace, "checked", 2, "churn:unapproved")
    note(workplace, "checked", 1, "churn:other", digest="e" * 64)
    assert packaged(workplace, "churn") == "churn:new"


def test_rejected_version_is_not_served(workplace: Workspace) -> None:
    """A packaged version that was rejected afterwards gives way to the one before it."""
    note(workplace, "approved", 1)
    note(workplace, "checked", 1, "churn:one")
    note(workplace, "approved", 2)
    note(workplace, "checked", 2, "churn:two")
    assert packaged(workplace, "churn") == "churn:two"
    note(workplace, "rejected", 2)
    assert packaged(workplace, "churn") == "churn:one"
    note(workplace, "rejected", 1)
    with pytest.raises(NotApproved, match="no approved version"):
        packaged(workplace, "churn")


def test_missing_bento_names_the_remedy(workplace: Workspace) -> None:
    """After `make clean` the record remains and the Bento is gone."""
    note(workplace, "approved", 1)
    with pytest.raises(ConfigError, match="python -m serving package churn"):
        packaged(workplace, "churn")
    note(workplace, "checked", 1, "churn:one")
    (bento.folder(bento.home(workplace), "bentos", "churn:one") / "bento.yaml").unlink()
    with pytest.raises(ConfigError, match="approved and not packaged"):
        packaged(workplace, "churn")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7"])
def test_other_hosts_need_keys(host: str, tmp_path: Path) -> None:
    """Without a key file only loopback is listened on; with one any address is."""
    with pytest.raises(ConfigError, match="Configure API keys first"):
        checked_host(host, tmp_path)
    (tmp_path / keys.FILE).write_text(DIGEST.replace("d", "a"))
    assert checked_host(host, tmp_path) == host


@pytest.mark.parametrize(
    ("host", "checked"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", "127.0.0.1")]
)
def test_loopback_needs_none(host: str, checked: str, tmp_path: Path) -> None:
    """The machine itself may ask without a key."""
    assert checked_host(host, tmp_path) == checked


def test_host_that_is_no_address_is_refused(tmp_path: Path) -> None:
    """Names are not resolved."""
    with pytest.raises(ConfigError, match="expected an IP address"):
        checked_host("example.org", tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_taken_port_is_told(taken: int) -> None:
    """Before a process is started; 0 finds another."""
    with pytest.raises(ConfigError, match=f"port {taken}.*--port"):
        listening("127.0.0.1", taken)
    with listening("127.0.0.1", 0) as free:
        assert free.getsockname()[1] not in (0, taken)


def test_unknown_bento_is_refused(workplace: Workspace) -> None:
    """Only what was packaged from this registry is started."""
    with pytest.raises(ConfigError, match=r"no Bento 'churn:v1' was packaged"):
        Server(workplace, "churn:v1")


def door(place: Workspace, *words: str) -> Result:
    """What the door says and how it ends."""
    folders = {
        "PERENNIAL_KEYS_DIR": str(place.keys),
        "PERENNIAL_STORE": str(place.store),
        "PERENNIAL_REGISTRY": str(place.registry),
    }
    return CliRunner().invoke(app, words, env=folders)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("package", "nothing"), "nothing"),
        (("serve", "nothing"), "no approved version"),
        (("serve", "churn"), "python -m serving package churn"),
    ],
)
def test_door_tells_errors_and_exits_with_2(
    words: tuple[str, ...], says: str, workplace: Workspace
) -> None:
    """One message on stderr, nothing on stdout, no stack trace."""
    note(workplace, "approved", 1)
    done = door(workplace, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_door_refuses_an_open_host(workplace: Workspace) -> None:
    """`--host 0.0.0.0` without keys starts nothing."""
    note(workplace, "approved", 1)
    note(workplace, "checked", 1, "churn:one")
    done = door(workplace, "serve", "churn", "--host", "0.0.0.0")
    assert done.exit_code == 2
    assert "Configure API keys first" in done.stderr
    dry = door(workplace, "serve", "churn", "--dry-run")
    assert (dry.exit_code, dry.stdout) == (0, "would serve churn:one on 127.0.0.1 port 3000\n")
    assert not (workplace.store / "logs").exists()


def test_help_is_quick_and_names_the_commands() -> None:
    """Nothing heavy is imported for it."""
    code = (
        "import sys\nfrom serving.__main__ import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'bentoml', 'fastapi', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "package" in done.stdout
    assert "serve" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_serving_process_has_no_tracker(
    released: Path, workplace: Workspace, rows: list[Any]
) -> None:
    """A worker that opened its release and answered imported none, and unpickled nothing."""
    code = f"""
import json, sys
sys.addaudithook(lambda event, _: event == "pickle.find_class" and sys.exit("unpickled"))
from serving.worker import opened
from tests.serving.asgi import post
guard = opened([{f"churn={released}"!r}])
rows = json.loads({json.dumps(json.dumps(rows[:3]))})
status = [post(guard, path, rows).status for path in ("/predict", "/explain")]
unwanted = {{"mlflow", "optuna", "shap", "matplotlib", "bentoml", "sklearn"}}
unwanted.add("opentelemetry.sdk")
print(status, sorted(unwanted & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(serving.__path__[0]).parent,
        env=os.environ | {"PERENNIAL_KEYS_DIR": str(workplace.keys)},
    )
    assert done.stdout.splitlines()[-1] == "[200, 200] []", done.stderr
