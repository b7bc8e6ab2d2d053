"""A release is verified whole before any of it is parsed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError, DataError
from serving import base, keys, release
from serving.release import BUNDLE, SIGNATURE, STATEMENT, Release
from tests.serving.asgi import ask
from tests.serving.conftest import Made
from training.keys import signing_key


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A change of one file's bytes."""

    def apply(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return apply


def flipped(at: int) -> Callable[[bytes], bytes]:
    """One bit of one byte flipped."""
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def other_version(folder: Path) -> None:
    """A statement for another version, signed by nobody."""
    told = json.loads((folder / STATEMENT).read_text())
    (folder / STATEMENT).write_text(json.dumps(told | {"version": 4}))


def rehashed(folder: Path) -> None:
    """A model exchanged together with its hash in the manifest, without the key."""
    import hashlib

    model, manifest = folder / BUNDLE / "model.ubj", folder / BUNDLE / "manifest.json"
    old = hashlib.sha256(model.read_bytes()).hexdigest()
    model.write_bytes(flipped(200)(model.read_bytes()))
    new = hashlib.sha256(model.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(old, new))


def linked(folder: Path) -> None:
    """A file of the bundle that lies elsewhere."""
    target = folder / BUNDLE / "calibrator.json"
    target.rename(folder.parent / "elsewhere.json")
    target.symlink_to(folder.parent / "elsewhere.json")


TAMPERED: dict[str, Callable[[Path], None]] = {
    "model, a bit": edit(f"{BUNDLE}/model.ubj", flipped(300)),
    "model, truncated": edit(f"{BUNDLE}/model.ubj", lambda data: data[:-1]),
    "model, longer": edit(f"{BUNDLE}/model.ubj", lambda data: data + b"\0"),
    "model, gone": lambda folder: (folder / BUNDLE / "model.ubj").unlink(),
    "model and its hash": rehashed,
    "answer": edit(f"{BUNDLE}/answer.json", lambda data: data.replace(b"0.4", b"0.9")),
    "calibrator": edit(f"{BUNDLE}/calibrator.json", flipped(10)),
    "calibrator, a link": linked,
    "golden rows": edit(f"{BUNDLE}/golden.npz", flipped(100)),
    "manifest": edit(f"{BUNDLE}/manifest.json", lambda data: data + b" "),
    "manifest's signature": edit(f"{BUNDLE}/manifest.sig", flipped(0)),
    "a file more": lambda folder: (folder / BUNDLE / "more.json").write_bytes(b"{}") and None,
    "statement": edit(STATEMENT, lambda data: data.replace(b"Ann", b"Eve")),
    "statement of another version": other_version,
    "statement's signature": edit(SIGNATURE, flipped(5)),
    "statement, gone": lambda folder: (folder / STATEMENT).unlink(),
    "statement's signature, gone": lambda folder: (folder / SIGNATURE).unlink(),
    "bundle's signature for the statement's": lambda folder: (
        (folder / SIGNATURE).write_bytes((folder / BUNDLE / "manifest.sig").read_bytes()) and None
    ),
}


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing of a model, its settings or its arrays fails the test."""

    def parsed(*_: Any, **__: Any) -> None:
        raise AssertionError("parsed before it was verified")

    for target in ("Answer", "resolve", "np.load"):
        monkeypatch.setattr(f"training.supervised.bundle.{target}", parsed)


@pytest.mark.parametrize("tamper", TAMPERED)
def test_tampered_release_is_refused_before_parsing(
    tamper: str, released: Path, made: Made, unparsed: None
) -> None:
    """Any change is told as bad data, naming the place and what to do."""
    TAMPERED[tamper](released)
    with pytest.raises(DataError, match=str(released)) as told:
        release.load(released, made.keys)
    assert (
        "package the model again" in str(told.value)
        or "nothing was loaded" in str(told.value)
        or ("restore it" in str(told.value))
    )


def test_release_of_another_key_is_refused(released: Path, tmp_path: Path, unparsed: None) -> None:
    """The key comes from the installation; what another signed does not count."""
    signing_key(tmp_path / "other")
    with pytest.raises(DataError, match="does not fit our key"):
        release.load(released, tmp_path / "other")


def test_old_bundle_under_a_new_statement_is_refused(
    released: Path, made: Made, statement: Release, unparsed: None
) -> None:
    """Both signatures are good and the digests differ: a mix of two releases."""
    told = statement.model_copy(update={"digest": "0" * 64})
    data = json.dumps(told.model_dump()).encode()
    (released / STATEMENT).write_bytes(data)
    (released / SIGNATURE).write_bytes(signing_key(made.keys).sign(data))
    with pytest.raises(DataError, match="the release names bundle 000000000000"):
        release.load(released, made.keys)


def test_whole_release_loads(released: Path, made: Made, statement: Release) -> None:
    """Untouched, it gives bundle and statement."""
    loaded, told = release.load(released, made.keys)
    assert (told, loaded.digest) == (statement, made.digest)
    assert loaded.replay() == 0.0


def test_bundle_exchanged_after_the_look_is_refused(
    released: Path, made: Made, statement: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is loaded is compared again with what was verified."""
    monkeypatch.setattr(release, "verify", lambda *_: statement.model_copy(update={"digest": "x"}))
    with pytest.raises(DataError, match="changed while it was read"):
        release.load(released, made.keys)


def test_service_of_another_question_refuses(
    released: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A churn bundle in another service is an error at start."""
    monkeypatch.setenv("PERENNIAL_KEYS_DIR", str(made.keys))
    with pytest.raises(DataError, match="answers 'churn', this service 'clv'"):
        base.open_release(base.new_app(), released, task="clv")


def test_service_with_unreadable_api_keys_refuses(
    released: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not start open, and its guard lets nobody in meanwhile."""
    monkeypatch.setenv("PERENNIAL_KEYS_DIR", str(made.keys))
    monkeypatch.setenv(keys.ENV, str(released / "nowhere"))
    with pytest.raises(ConfigError, match="API key file cannot be read"):
        base.open_release(base.new_app(), released, task="churn")
    assert ask(base.guarded(base.new_app()), "GET", "/model").status == 401
