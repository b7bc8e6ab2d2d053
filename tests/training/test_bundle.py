"""The shipped folder: what was written comes back, and whatever was changed is refused unparsed."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.errors import DataError
from features.settings import Workspace
from tests.training import samples
from training import bundle as bundles
from training.bundle import ANSWER, MANIFEST, SIGNATURE
from training.calibrate import FILE as CALIBRATOR
from training.contract import Floats
from training.keys import PRIVATE_KEY, PUBLIC_KEY, signing_key, verifying_key
from training.models.gbm import FILE as BOOSTER
from training.supervised import bundle as supervised
from training.supervised.bundle import GOLDEN

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([k] * 32)) for k in (1, 2))
PUBLIC = KEY.public_key()

Change = Callable[[Path], None]


def trees(count: int = 4) -> tuple[supervised.Bundle, Floats]:
    """A small forest, and rows to ask it about."""
    return samples.bundle("gbm.Gbm", trees=count, min_child_weight=1, learning_rate=0.3)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two signed bundles of one key: ``trees`` and ``line``."""
    root = tmp_path_factory.mktemp("bundles")
    for name, (made, rows) in (("trees", trees()), ("line", samples.bundle("logistic.Logistic"))):
        supervised.write(made, rows, root / name, KEY)
    return root


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of the bundle of trees, to be changed."""
    return shutil.copytree(written / "trees", tmp_path / "bundle")


# --- what was written comes back ----------------------------------------------------------------


@pytest.mark.parametrize("use", ["gbm.Gbm", "logistic.Logistic", "recency.Recency"])
def test_loaded_answers_as_written(use: str, tmp_path: Path) -> None:
    """A loaded bundle gives the same bits, and its golden rows replay with no difference at all."""
    made, rows = samples.bundle(use)
    digest = supervised.write(made, rows, tmp_path / "bundle", KEY)
    loaded = bundles.load(tmp_path / "bundle", PUBLIC)
    assert loaded.answer == made.answer
    assert loaded.digest == digest
    assert loaded.replay() == 0.0
    for now, then in zip(loaded.predict(rows), made.predict(rows), strict=True):
        assert np.array_equal(now, then)
    assert np.array_equal(loaded.explain(rows).contributions, made.explain(rows).contributions)
    assert loaded.golden is not None
    assert np.array_equal(loaded.golden.X, rows, equal_nan=True)


def test_the_same_bundle_has_the_same_bytes(tmp_path: Path, written: Path) -> None:
    """Written twice it has one digest; with another model it has another."""
    made, rows = trees()
    digest = supervised.write(made, rows, tmp_path / "again", KEY)
    for path in (written / "trees").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    other, rows = trees(5)
    assert supervised.write(other, rows, tmp_path / "other", KEY) != digest


def test_the_folder_holds_what_the_manifest_lists(written: Path) -> None:
    """Names, sizes and hashes are those on disk, and nothing else lies there."""
    listed = json.loads((written / "trees" / MANIFEST).read_text())
    assert listed["format"] == bundles.FORMAT
    files = {p.name: p.read_bytes() for p in (written / "trees").iterdir()}
    assert set(files) == {ANSWER, BOOSTER, CALIBRATOR, GOLDEN, MANIFEST, SIGNATURE}
    assert set(listed["files"]) == set(files) - {MANIFEST, SIGNATURE}
    for name, entry in listed["files"].items():
        digest = hashlib.sha256(files[name]).hexdigest()
        assert entry == {"sha256": digest, "bytes": len(files[name])}


def test_a_frame_is_answered_by_name(written: Path) -> None:
    """Columns in any order, the index kept, a missing or unknown column refused by name."""
    loaded = bundles.load(written / "trees", PUBLIC)
    X, _, _ = samples.customers(10, seed=5)
    X.index = pd.Index(range(100, 110))
    found = loaded.predict_frame(X[list(reversed(X.columns))])
    assert list(found.columns) == ["churn_probability", "score"]
    assert found.index.equals(X.index)
    assert np.array_equal(found["score"], loaded.predict(X.to_numpy(np.float64))[1])
    with pytest.raises(DataError, match=f"column '{X.columns[0]}' is missing"):
        loaded.predict_frame(X.drop(columns=X.columns[0]))
    with pytest.raises(DataError, match="column 'stranger' is unknown"):
        loaded.predict_frame(X.assign(stranger=0.0))


def test_replay_sees_a_model_that_drifted(written: Path) -> None:
    """Golden answers of another model differ, and replay says by how much."""
    loaded = bundles.load(written / "trees", PUBLIC)
    other, _ = trees(5)
    drifted = supervised.Bundle(loaded.answer, other.model, loaded.calibrator, "", loaded.golden)
    assert drifted.replay() > 1e-3
    other_line = supervised.Calibrator("platt", {"line": (1.1, -0.2)}, 0.06)
    moved = supervised.Bundle(loaded.answer, loaded.model, other_line, "", loaded.golden)
    assert moved.replay() > 1e-4


# --- whatever was changed is refused, unparsed ---------------------------------------------------


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch, written: Path) -> Iterator[list[str]]:
    """Fail the test if any parser sees a byte that was not signed with our key."""
    signed = {(written / name / MANIFEST).read_bytes() for name in ("trees", "line")}
    parse_json, seen = json.loads, []

    def refuse(what: str) -> Callable[..., Any]:
        def parser(*args: Any, **kwargs: Any) -> Any:
            seen.append(what)
            raise AssertionError(f"{what} was reached")

        return parser

    def manifest_only(data: Any, **kwargs: Any) -> Any:
        text = data if isinstance(data, bytes) else str(data).encode()
        return parse_json(data, **kwargs) if text in signed else refuse("json.loads")(data)

    monkeypatch.setattr(bundles.json, "loads", manifest_only)
    monkeypatch.setattr(supervised.np, "load", refuse("np.load"))
    monkeypatch.setattr(supervised, "resolve", refuse("the model's class"))
    monkeypatch.setattr(xgboost.Booster, "__init__", refuse("xgboost.Booster"))
    monkeypatch.setattr(xgboost.Booster, "load_model", refuse("Booster.load_model"))
    monkeypatch.setattr(supervised.Calibrator, "load", refuse("Calibrator.load"))
    yield seen
    assert seen == []


def test_the_watch_over_parsers_works(written: Path, unparsed: list[str]) -> None:
    """An unchanged bundle does reach a parser, which the watch notices."""
    with pytest.raises(AssertionError, match=r"json\.loads was reached"):
        bundles.load(written / "trees", PUBLIC)
    assert unparsed == ["json.loads"]
    unparsed.clear()


def flipped(name: str, offset: int, bit: int) -> Change:
    """One bit of one file turned."""

    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[offset] ^= 1 << bit
        (folder / name).write_bytes(bytes(data))

    return change


def cut(name: str, keep: int) -> Change:
    """One file truncated."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep]) and None


def longer(name: str, more: bytes) -> Change:
    """Bytes behind the end of one file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + more) and None


def spliced(name: str, start: int, length: int) -> Change:
    """A piece of one file repeated over the piece behind it; the size stays."""

    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        piece = bytes(255 - b for b in data[start : start + length])
        data[start : start + len(piece)] = piece
        (folder / name).write_bytes(bytes(data))

    return change


def mutations(folder: Path, flips: int, cuts: int, seed: int) -> Iterator[tuple[str, Change]]:
    """Random damage to every file of the bundle, manifest and signature included."""
    rng = np.random.default_rng(seed)
    for path in sorted(folder.iterdir()):
        name, size = path.name, path.stat().st_size
        for _ in range(flips):
            offset, bit = int(rng.integers(size)), int(rng.integers(8))
            yield f"{name}: bit {bit} of byte {offset}", flipped(name, offset, bit)
        for keep in {0, size - 1, *rng.integers(size, size=cuts).tolist()}:
            yield f"{name}: cut to {keep}", cut(name, keep)
        for length in (1, *rng.integers(2, 5_000, size=cuts).tolist()):
            yield f"{name}: {length} bytes more", longer(name, rng.bytes(length))
        for _ in range(cuts):
            start, length = int(rng.integers(size)), int(rng.integers(1, 64))
            yield f"{name}: bytes {start} to {start + length} turned", spliced(name, start, length)


def refused(folder: Path, change: Change, pristine: dict[str, bytes]) -> str:
    """Apply ``change``, expect a refusal, put everything back; return the message."""
    change(folder)
    with pytest.raises(DataError) as caught:
        bundles.load(folder, PUBLIC)
    for name, data in pristine.items():
        if (folder / name).read_bytes() != data:
            (folder / name).write_bytes(data)
    return str(caught.value)


def all_refused(folder: Path, flips: int, cuts: int, seed: int) -> int:
    """Every mutation is refused; return how many there were."""
    pristine = {p.name: p.read_bytes() for p in folder.iterdir()}
    count = 0
    for what, change in mutations(folder, flips, cuts, seed):
        message = refused(folder, change, pristine)
        assert str(folder) in message, what
        count += 1
    return count


def test_random_damage_is_refused(folder: Path, unparsed: list[str]) -> None:
    """More than 200 flips, cuts, additions and turned pieces, none of them parsed."""
    assert all_refused(folder, flips=25, cuts=4, seed=0) >= 200


@pytest.mark.slow
def test_much_random_damage_is_refused(written: Path, folder: Path, unparsed: list[str]) -> None:
    """More than 2,000 of them, over both kinds of model."""
    line = shutil.copytree(written / "line", folder.parent / "line")
    assert all_refused(folder, flips=150, cuts=30, seed=1) >= 1_000
    assert all_refused(line, flips=150, cuts=30, seed=2) >= 1_000


def test_every_byte_of_the_signature_counts(folder: Path, unparsed: list[str]) -> None:
    """A single bit of any byte of the signature turned is a refusal."""
    pristine = {p.name: p.read_bytes() for p in folder.iterdir()}
    for offset in range(64):
        message = refused(folder, flipped(SIGNATURE, offset, offset % 8), pristine)
        assert "signature does not fit our key" in message


def swap(name: str, written: Path) -> Change:
    """One file of the other bundle, which is signed with the same key."""
    return lambda folder: shutil.copy(written / "line" / name, folder / name) and None


@pytest.mark.parametrize("name", [ANSWER, GOLDEN, MANIFEST, SIGNATURE])
def test_a_file_of_another_bundle_is_refused(
    name: str, folder: Path, written: Path, unparsed: list[str]
) -> None:
    """Files of two bundles that are both ours do not mix."""
    swap(name, written)(folder)
    with pytest.raises(DataError):
        bundles.load(folder, PUBLIC)


def test_manifest_and_signature_of_another_bundle_are_refused(
    folder: Path, written: Path, unparsed: list[str]
) -> None:
    """A valid signature over a manifest that names other files does not help."""
    for name in (MANIFEST, SIGNATURE):
        swap(name, written)(folder)
    with pytest.raises(DataError, match=rf"(?s){BOOSTER}: not in the manifest.*{ANSWER}: changed"):
        bundles.load(folder, PUBLIC)


def hidden(folder: Path) -> None:
    """A file that nobody listed, out of sight."""
    (folder / ".extra").write_bytes(b"x")


def nested(folder: Path) -> None:
    """A folder with a file in it."""
    (folder / "deep").mkdir()
    (folder / "deep" / "model.ubj").write_bytes(b"x")


def linked(folder: Path) -> None:
    """The booster moved away and linked."""
    shutil.move(folder / BOOSTER, folder.parent / "elsewhere")
    (folder / BOOSTER).symlink_to(folder.parent / "elsewhere")


def linked_manifest(folder: Path) -> None:
    """The manifest moved away and linked."""
    shutil.move(folder / MANIFEST, folder.parent / "elsewhere")
    (folder / MANIFEST).symlink_to(folder.parent / "elsewhere")


def dangling(folder: Path) -> None:
    """A link to nothing."""
    (folder / "note").symlink_to(folder / "nowhere")


def directory_instead(folder: Path) -> None:
    """A folder where a file should be."""
    (folder / CALIBRATOR).unlink()
    (folder / CALIBRATOR).mkdir()


def other_case(folder: Path) -> None:
    """The booster under its name in capitals."""
    (folder / BOOSTER).rename(folder / BOOSTER.upper())


def pipe_instead(folder: Path) -> None:
    """A pipe where a file should be: reading it would hang."""
    (folder / GOLDEN).unlink()
    os.mkfifo(folder / GOLDEN)


def swapped_names(folder: Path) -> None:
    """Two files under each other's names."""
    one, two = folder / ANSWER, folder / CALIBRATOR
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def rehashed(folder: Path) -> None:
    """The booster changed and the manifest with it, as someone without the key can."""
    data = bytearray((folder / BOOSTER).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / BOOSTER).write_bytes(bytes(data))
    listed = json.loads((folder / MANIFEST).read_bytes())
    listed["files"][BOOSTER]["sha256"] = hashlib.sha256(data).hexdigest()
    text = json.dumps(listed, indent=1, sort_keys=True).encode()
    (folder / MANIFEST).write_bytes(text)


def resigned(folder: Path) -> None:
    """The same, signed with a key of one's own."""
    rehashed(folder)
    (folder / SIGNATURE).write_bytes(OTHER_KEY.sign((folder / MANIFEST).read_bytes()))


def own_key_inside(folder: Path) -> None:
    """The same, with that key put beside it: a key in the bundle is never used."""
    resigned(folder)
    (folder / PUBLIC_KEY).write_bytes(OTHER_KEY.public_key().public_bytes_raw())


def unsigned(folder: Path) -> None:
    """No signature."""
    (folder / SIGNATURE).unlink()


def no_manifest(folder: Path) -> None:
    """No manifest."""
    (folder / MANIFEST).unlink()


def no_booster(folder: Path) -> None:
    """No model."""
    (folder / BOOSTER).unlink()


def reordered(folder: Path) -> None:
    """The manifest says the same in other bytes."""
    listed = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(json.dumps(listed).encode())


STRUCTURAL: list[tuple[Change, str]] = [
    (hidden, r"\.extra: not in the manifest"),
    (nested, "deep: not in the manifest"),
    (dangling, "note: not in the manifest"),
    (linked, f"{BOOSTER}: missing, or not a plain file"),
    (linked_manifest, f"{MANIFEST}: missing, or not a plain file"),
    (directory_instead, f"{CALIBRATOR}: missing, or not a plain file"),
    (pipe_instead, f"{GOLDEN}: missing, or not a plain file"),
    (other_case, f"(?s){BOOSTER.upper()}: not in the manifest.*{BOOSTER}: missing"),
    (swapped_names, f"(?s){ANSWER}: changed since.*{CALIBRATOR}: changed since"),
    (rehashed, "signature does not fit our key"),
    (resigned, "signature does not fit our key"),
    (own_key_inside, "signature does not fit our key"),
    (reordered, "signature does not fit our key"),
    (unsigned, f"{SIGNATURE}: missing"),
    (no_manifest, f"{MANIFEST}: missing"),
    (no_booster, f"{BOOSTER}: missing"),
]


@pytest.mark.parametrize(("change", "said"), STRUCTURAL, ids=[c.__name__ for c, _ in STRUCTURAL])
def test_a_changed_folder_is_refused(
    change: Change, said: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    """Added, missing, linked, renamed or re-signed: file or signature is named."""
    change(folder)
    request.getfixturevalue("unparsed")  # from here on: the changes above may parse
    with pytest.raises(DataError, match=said):
        bundles.load(folder, PUBLIC)


def test_all_changes_are_named_at_once(folder: Path) -> None:
    """One message lists every file that does not fit."""
    hidden(folder)
    no_booster(folder)
    flipped(ANSWER, 10, 0)(folder)
    with pytest.raises(DataError) as caught:
        bundles.load(folder, PUBLIC)
    assert str(caught.value).count("\n  - ") == 3
    assert "nothing was loaded" in str(caught.value)


def sign(folder: Path, listed: dict[str, Any]) -> None:
    """Put ``listed`` into the manifest, signed with our key."""
    text = json.dumps(listed).encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / SIGNATURE).write_bytes(KEY.sign(text))


@pytest.mark.parametrize("inside", ["{outside}", "../outside", "deep/../../outside", "./outside"])
def test_a_path_in_the_manifest_is_refused(inside: str, folder: Path) -> None:
    """Even a signed manifest cannot make the loader read outside its folder."""
    outside = folder.parent / "outside"
    outside.write_bytes(b"secret")
    listed = json.loads((folder / MANIFEST).read_bytes())
    name = inside.format(outside=outside)
    entry = {"sha256": hashlib.sha256(b"secret").hexdigest(), "bytes": 6}
    sign(folder, listed | {"files": listed["files"] | {name: entry}})
    with pytest.raises(DataError, match="missing, or not a plain file of the bundle"):
        bundles.read_verified(folder, PUBLIC)


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "trees\\model"])
def test_an_odd_name_in_the_manifest_is_refused(name: str, folder: Path) -> None:
    """Names that are no files of the folder give the same clear refusal."""
    listed = json.loads((folder / MANIFEST).read_bytes())
    entry = {"sha256": "0" * 64, "bytes": 0}
    sign(folder, listed | {"files": listed["files"] | {name: entry}})
    with pytest.raises(DataError, match="missing, or not a plain file of the bundle"):
        bundles.read_verified(folder, PUBLIC)


def test_another_format_is_refused(folder: Path) -> None:
    """A bundle of another time names its format, ours and the remedy."""
    listed = json.loads((folder / MANIFEST).read_bytes())
    sign(folder, listed | {"format": bundles.FORMAT + 1})
    with pytest.raises(DataError, match=r"bundle format 3, this code reads 2; train again"):
        bundles.load(folder, PUBLIC)


def test_a_huge_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above the limit is refused by its size, before its bytes are in memory."""
    monkeypatch.setattr(bundles, "MAX_FILE_BYTES", 10_000)
    (folder / GOLDEN).write_bytes(b"0" * 10_001)
    with pytest.raises(DataError, match=f"{GOLDEN}: larger than 10000 bytes"):
        bundles.load(folder, PUBLIC)


def test_another_key_is_refused(written: Path, unparsed: list[str]) -> None:
    """An unchanged bundle is nothing to someone who trusts another key."""
    with pytest.raises(DataError, match="signature does not fit our key"):
        bundles.load(written / "trees", OTHER_KEY.public_key())


def test_what_changes_after_the_check_is_not_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes that were verified are the bytes that are parsed: no second look at the disk."""
    read = bundles.read_verified

    def then_exchanged(*args: Any) -> Any:
        verified = read(*args)
        for path in folder.iterdir():
            path.write_bytes(b"exchanged")
        return verified

    monkeypatch.setattr(bundles, "read_verified", then_exchanged)
    assert bundles.load(folder, PUBLIC).replay() == 0.0


def test_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    with pytest.raises(DataError, match="nowhere.*missing"):
        bundles.load(tmp_path / "nowhere", PUBLIC)


# --- keys and MLflow's door ----------------------------------------------------------------------


def test_keys_are_made_once_and_private(place: Workspace) -> None:
    """The signing key is its owner's alone, stays the same, and fits the verifying key."""
    made = signing_key(place.keys)
    assert signing_key(place.keys).private_bytes_raw() == made.private_bytes_raw()
    public = verifying_key(place.keys)
    public.verify(made.sign(b"text"), b"text")
    for path in place.keys.iterdir():
        if path.name == PRIVATE_KEY:
            assert path.stat().st_mode & 0o077 == 0
    (place.keys / PUBLIC_KEY).unlink()  # as after a kill between the two files
    signing_key(place.keys)
    assert verifying_key(place.keys).public_bytes_raw() == public.public_bytes_raw()


def test_without_a_verifying_key_the_error_says_where_it_should_be(
    place: Workspace, written: Path
) -> None:
    """Missing or broken keys name the file and the variable, and nothing is made up."""
    with pytest.raises(DataError, match=rf"{PUBLIC_KEY}: no 32-byte key.*PERENNIAL_KEYS_DIR"):
        verifying_key(place.keys)
    assert not place.keys.exists()
    place.keys.mkdir(parents=True)
    for name in (PUBLIC_KEY, PRIVATE_KEY):
        (place.keys / name).write_bytes(b"short")
    for read in (verifying_key, signing_key):
        with pytest.raises(DataError, match="no 32-byte key there; set PERENNIAL_KEYS_DIR"):
            read(place.keys)
    with pytest.raises(DataError, match="PERENNIAL_KEYS_DIR"):
        bundles._load_pyfunc(str(written / "trees"))


def test_mlflows_door_verifies(place: Workspace, tmp_path: Path) -> None:
    """The loader that MLflow calls answers from a good bundle and refuses a changed one."""
    made, rows = trees()
    supervised.write(made, rows, tmp_path / "bundle", signing_key(place.keys))
    answer = bundles._load_pyfunc(str(tmp_path / "bundle"))
    X, _, _ = samples.customers(20, seed=8)
    found = answer.predict(X)
    probability, scores = made.predict(X.to_numpy(np.float64))
    assert np.array_equal(found["churn_probability"], probability)
    assert np.array_equal(found["score"], scores)
    flipped(BOOSTER, 100, 2)(tmp_path / "bundle")
    with pytest.raises(DataError, match=f"{BOOSTER}: changed since it was signed"):
        bundles._load_pyfunc(str(tmp_path / "bundle"))
