"""Source ids become internal customers by a key that is made once and never lost quietly."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import identity
from features.errors import DataError
from features.identity import KEY_FILE, customer_ids, customer_key
from tests.worlds import ROOT

KEY = bytes(range(32))
IDS = st.lists(st.text(max_size=12), unique=True, max_size=30)


def hmac_by_hand(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 as RFC 2104 defines it."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).digest()


@given(ids=IDS)
def test_id_is_a_keyed_hash(ids: list[str]) -> None:
    """An id is the first 63 bits of the HMAC over source and source id."""
    expected = {
        i: int.from_bytes(hmac_by_hand(KEY, f"shop\0{i}".encode())[:8], "big") >> 1 for i in ids
    }
    assert customer_ids("shop", ids, KEY) == expected
    assert all(0 <= value < 2**63 for value in expected.values())


@given(ids=IDS)
def test_id_depends_on_source_and_key_alone(ids: list[str]) -> None:
    """Order and company do not matter; another source or key gives unrelated numbers."""
    found = customer_ids("shop", ids, KEY)
    assert customer_ids("shop", reversed(ids), KEY) == found
    assert all(customer_ids("shop", [i], KEY) == {i: found[i]} for i in ids)
    for other in (customer_ids("web", ids, KEY), customer_ids("shop", ids, KEY[::-1])):
        assert not set(other.values()) & set(found.values())


def test_customers_that_meet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two customers never become one in silence."""
    monkeypatch.setattr(identity, "_BITS", 4)
    with pytest.raises(DataError, match="source shop: two customers meet"):
        customer_ids("shop", map(str, range(17)), KEY)


def test_key_is_made_once(tmp_path: Path) -> None:
    """The first use makes 32 random bytes for the owner's eyes; later ones read them."""
    keys = tmp_path / "a" / "keys"
    mask = os.umask(0)
    try:
        key = customer_key(keys)
    finally:
        os.umask(mask)
    assert len(key) == 32
    assert (keys / KEY_FILE).read_bytes() == key == customer_key(keys)
    assert (keys / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert keys.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in keys.iterdir()] == [KEY_FILE]
    assert customer_key(tmp_path / "b") != key


@pytest.mark.parametrize("size", [0, 31, 33])
def test_damaged_key_is_not_replaced(tmp_path: Path, size: int) -> None:
    """A key file of another size is an error that says so, and stays as it is."""
    (tmp_path / KEY_FILE).write_bytes(b"x" * size)
    with pytest.raises(DataError, match=f"{KEY_FILE}: {size} bytes, expected 32"):
        customer_key(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == b"x" * size


def test_processes_agree_on_the_key(tmp_path: Path) -> None:
    """Processes that come first together end with one key."""
    code = """
import sys
from pathlib import Path
from features.identity import customer_key
sys.stdin.read(1)
sys.stdout.write(customer_key(Path(sys.argv[1])).hex())
"""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "keys")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"x")
        child.stdin.flush()
    found = {child.communicate()[0] for child in children}
    assert found == {(tmp_path / "keys" / KEY_FILE).read_bytes().hex().encode()}
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [KEY_FILE]


def test_killed_key_maker_is_not_in_the_way(tmp_path: Path) -> None:
    """What a killed process left while making the key does not stop the next of its id."""
    (tmp_path / f".{KEY_FILE}.{os.getpid()}").write_bytes(b"half")
    assert len(customer_key(tmp_path)) == 32
