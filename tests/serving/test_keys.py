"""API keys: nobody is let in without one, whatever they send."""

import hashlib
from pathlib import Path

import pytest

from features.errors import ConfigError
from serving import keys
from serving.access import Access
from serving.guard import Guard
from tests.serving.asgi import ask
from tests.serving.echo import ACCESS, HASHES, KEY, RULES, Echo, refused

NOTHING = hashlib.sha256(b"").digest()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer wrong")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic " + KEY.encode())],
        [(b"authorization", KEY.encode())],
        [(b"x-api-key", b"")],
        [(b"x-api-key", KEY.upper().encode())],
        [(b"x-api-key", HASHES[0].hex().encode())],
        [(b"cookie", b"key=" + KEY.encode())],
    ],
)
def test_without_a_key_only_health_answers(headers: list[tuple[bytes, bytes]]) -> None:
    """Each path but the open ones is 401, unknown ones included, before anything else is told."""
    app = Echo()
    guard = Guard(app, RULES, ACCESS)
    for method, path in (
        ("POST", "/work"), ("GET", "/look"), ("GET", "/metrics"), ("GET", "/x"), ("PUT", "/look"),
    ):  # fmt: skip
        reply = ask(guard, method, path, headers=headers)
        assert refused(reply) == (401, "unauthorized")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert app.states == []
    assert ask(guard, "GET", "/livez", headers=headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer " + KEY.encode())],
        [(b"authorization", b"bearer  another-key ")],
        [(b"x-api-key", KEY.encode())],
    ],
)
def test_any_valid_key_opens(headers: list[tuple[bytes, bytes]]) -> None:
    """Both headers and every key of the file work."""
    assert ask(Guard(Echo(), RULES, ACCESS), "GET", "/look", headers=headers).status == 200


def test_every_hash_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison does not stop at the first that fits, and is the constant-time one."""
    compared = []

    def compare(sent: bytes, known: bytes) -> bool:
        compared.append(known)
        return sent == known

    monkeypatch.setattr("serving.keys.hmac.compare_digest", compare)
    caller = ACCESS.caller([(b"x-api-key", KEY.encode())])
    assert caller is not None
    assert caller.name == HASHES[0].hex()
    assert compared == HASHES


def test_no_key_fits_an_empty_list() -> None:
    """A guard that could not read its keys lets nobody in; an empty key is none."""
    assert Access({NOTHING: keys.ALL}).caller([(b"x-api-key", b"")]) is None
    assert refused(ask(Guard(Echo(), RULES, Access({})), "GET", "/look")) == (401, "unauthorized")


def test_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file: no keys. A file: hashes with their scopes. The environment's file comes first."""
    monkeypatch.delenv(keys.ENV, raising=False)
    assert keys.read_keys(tmp_path) is None
    one, two = HASHES[0].hex(), HASHES[1].hex()
    (tmp_path / keys.FILE).write_text(f"# of the shop\n{one}\n\n {two} read,metrics\n")
    few = frozenset(("read", "metrics"))
    assert keys.read_keys(tmp_path) == {HASHES[0]: keys.ALL, HASHES[1]: few}
    other = tmp_path / "other"
    other.write_text(two)
    monkeypatch.setenv(keys.ENV, str(other))
    assert keys.read_keys(tmp_path) == {HASHES[1]: keys.ALL}


def test_a_key_is_made_and_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has its hash alone; keys that were there stay; deleting the line withdraws it."""
    monkeypatch.delenv(keys.ENV, raising=False)
    first = keys.add(tmp_path, comment="shop\nof Ann")
    second = keys.add(tmp_path, ["read"])
    text = (tmp_path / keys.FILE).read_text()
    assert first not in text
    assert text.startswith("# shop?of Ann\n")
    access = Access(keys.read_keys(tmp_path) or {})
    callers = [access.caller([(b"x-api-key", key.encode())]) for key in (first, second)]
    assert [c.scopes for c in callers if c] == [keys.ALL, frozenset(("read",))]
    (tmp_path / keys.FILE).write_text("".join(text.splitlines(keepends=True)[-1:]))
    assert Access(keys.read_keys(tmp_path) or {}).caller([(b"x-api-key", first.encode())]) is None
    with pytest.raises(ConfigError, match=r"scopes \['all'\]"):
        keys.add(tmp_path, ["all"])


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "secret-key-in-clear", "ab" * 31, "\u00e9" * 64, "ab" * 32 + " secret"],
)
def test_unreadable_key_file_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A configured file without good hashes stops the start, and its text is not repeated."""
    monkeypatch.setenv(keys.ENV, str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="cannot be read"):
        keys.read_keys(tmp_path)
    (tmp_path / "file").write_text(text)
    with pytest.raises(ConfigError) as told:
        keys.read_keys(tmp_path)
    assert "secret" not in str(told.value)
