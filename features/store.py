"""Publishing: a folder is whole or absent, and finished work is recognised by its key.

A step writes into a private folder, which is synced to disk and then renamed to its final name, the
step's fingerprint; a ``CURRENT`` file names the newest. A killed step leaves the old folder whole
and a rerun starts from the same fingerprint.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import DataError
from features.settings import canonical

MANIFEST = "manifest.json"
CURRENT = "CURRENT"


@dataclass(frozen=True)
class Published:
    """An immutable folder: where it is, what its manifest says, whether it was made just now."""

    folder: Path
    manifest: dict[str, Any]
    fresh: bool

    @property
    def content(self) -> str:
        """Hash of the folder's files: equal inputs give equal content."""
        return str(self.manifest["content"])


def publish(root: Path, key: str, write: Callable[[Path], dict[str, Any]]) -> Published:
    """The folder ``root/key``; made by ``write(folder) -> facts`` unless it is already there.

    Parameters
    ----------
    write
        Fills an empty folder and returns the facts to keep in the manifest.

    Raises
    ------
    DataError
        If a published file is missing or has another size than its manifest says.
    """
    final = root / key
    _sweep(root)
    if there := published(root, key):
        _point(root, key)
        return there
    with scratch(root) as folder:
        facts = write(folder)
        files = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
            files[str(path.relative_to(folder))] = {"sha256": digest, "bytes": path.stat().st_size}
        content = hashlib.sha256(canonical(files).encode()).hexdigest()[:16]
        manifest = {"key": key, "content": content, "files": files, "facts": facts}
        write_synced(folder / MANIFEST, json.dumps(manifest, indent=1, default=str).encode())
        for inner in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
            sync_folder(inner)
        try:
            folder.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            _read(final)  # another run published the same first
    sync_folder(root)
    _point(root, key)
    return Published(final, _read(final), fresh=True)


def published(root: Path, key: str) -> Published | None:
    """The folder ``root/key`` if it is there."""
    final = root / key
    if not (final / MANIFEST).is_file():
        return None
    return Published(final, _read(final), fresh=False)


def current(root: Path) -> Published | None:
    """The newest published folder below ``root``; None where it is not, or no longer, there."""
    pointer = root / CURRENT
    if not pointer.is_file():
        return None
    return published(root, pointer.read_text().strip())


@contextlib.contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A private folder below ``root``, gone afterwards; leftovers of dead processes go too."""
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    folder = root / f".scratch-{os.urandom(4).hex()}-{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_synced(path: Path, data: bytes) -> None:
    """Write ``data`` so that it is on disk when this returns."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_once(path: Path, data: bytes) -> None:
    """Make a private file, or leave the one that is there: the first of several makers wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, private = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(private, path)
    os.unlink(private)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _point(root: Path, key: str) -> None:
    pointer = root / CURRENT
    if pointer.is_file() and pointer.read_text().strip() == key:
        return
    private = root / f".{CURRENT}-{os.urandom(4).hex()}-{os.getpid()}"
    write_synced(private, key.encode())
    private.replace(pointer)
    sync_folder(root)


def _sweep(root: Path) -> None:
    """Remove what dead processes left: half-written folders and pointers never set."""
    for left in (*root.glob(".scratch-*"), *root.glob(f".{CURRENT}-*")):
        if not alive(int(left.name.rsplit("-", 1)[1])):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        sizes = {folder / name: entry["bytes"] for name, entry in manifest["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder}: no readable {MANIFEST} ({error}); remove the folder and run again"
        ) from None
    for path, size in sizes.items():
        if not path.is_file() or path.stat().st_size != size:
            raise DataError(
                f"{path}: missing or changed since it was published; remove {folder} and run again"
            )
    return manifest


def alive(pid: int) -> bool:
    """Whether there is such a process on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
