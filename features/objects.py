"""Files in object storage, by URL: copied into the store, then they go the way of every other file.

S3 and Google Cloud Storage are read through Arrow, with the credentials and the endpoint that its
environment variables give (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...).
"""

import hashlib
import re
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from features.errors import DataError
from features.store import scratch, sync_folder

SCHEMES = ("s3", "gs")
WILD = re.compile(r"[*?\[]")
PIECE = 8 << 20


def is_url(pattern: str) -> bool:
    """Whether ``pattern`` is an address rather than a name below the data folder."""
    return "://" in pattern


def unreadable(url: str) -> list[str]:
    """Why ``url`` cannot be asked for."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        return [f"files: {parts.scheme}:// is not read; s3:// or gs://, or copy the files"]
    if "@" in parts.netloc:
        return ["files: an address with a password; credentials come from the environment"]
    return []


def fetch(url: str, folder: Path) -> list[Path]:
    """Copy the objects that ``url`` names, by name, glob or prefix, below ``folder``.

    Objects of one prefix keep their names in one folder; an object that changed replaces its copy.

    Raises
    ------
    DataError
        If nothing matches, or the storage cannot be read.
    """
    from pyarrow import fs

    address, _, query = url.partition("?") if "://" in url else (url, "", "")
    fixed = WILD.split(address)[0]
    base = fixed if fixed == address else fixed.rpartition("/")[0]
    try:
        # Only the fixed part is parsed: a glob is no address.
        storage, root = fs.FileSystem.from_uri(base + (f"?{query}" if query else ""))
        pattern = root + address[len(base) :]
        there = storage.get_file_info(root)
        if there.type == fs.FileType.File:
            found = [there]
        else:
            inside = fs.FileSelector(root, recursive=fixed != address, allow_not_found=True)
            found = [k for k in storage.get_file_info(inside) if k.type == fs.FileType.File]
        if fixed != address:
            found = [k for k in found if fnmatchcase(k.path, pattern)
                     and k.path.count("/") == pattern.count("/")]  # fmt: skip
        found = sorted(
            (k for k in found if not k.base_name.startswith((".", "_"))), key=lambda k: k.path
        )
        if not found:
            raise DataError(f"{address}: no object matches; expected at least one")
        return [_copied(storage, k, address.partition("://")[0], folder) for k in found]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{address}: cannot be read: {error}; nothing was loaded from it") from None


def _copied(storage: Any, there: Any, scheme: str, folder: Path) -> Path:
    final: Path
    prefix = there.path.rpartition("/")[0]
    place = folder / hashlib.sha256(f"{scheme}://{prefix}".encode()).hexdigest()[:16]
    final = place / there.base_name
    with scratch(place) as private:
        copy = private / "object"
        with storage.open_input_stream(there.path) as remote, copy.open("wb") as local:
            shutil.copyfileobj(remote, local, PIECE)
        if copy.stat().st_size != there.size:
            raise DataError(
                f"{scheme}://{there.path}: {copy.stat().st_size} bytes were read, the storage says "
                f"{there.size}; it changed meanwhile: run the command again"
            )
        copy.replace(final)
    sync_folder(place)
    return final
