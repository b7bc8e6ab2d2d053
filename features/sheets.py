"""Raw files -> staged files, each read once with all that any feed wants of it."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from features.engine import available_threads
from features.errors import DataError
from features.feeds import Feed
from features.raw_files import Dialect
from features.staging import Staged, stage


@dataclass(frozen=True)
class Sheet:
    """A staged file: what some feed reads of it, as text."""

    name: str
    """Of the raw file, with its folders where files of several have the same name."""
    path: Path
    counts: Staged
    texts: Mapping[str, str]
    """Column of the file -> column of the staged file."""


def stage_all(
    feeds: Mapping[str, Feed], files: Mapping[str, list[Path]], folder: Path
) -> dict[str, tuple[Sheet, ...]]:
    """The staged files of each feed, written to ``folder``.

    Raises
    ------
    DataError
        If files cannot be read to their end or lack columns; all of them are named.
    """
    wanted: dict[tuple[Path, Dialect], dict[str, str]] = {}
    for name, feed in feeds.items():
        for path in files[name]:
            texts = wanted.setdefault((path, feed.dialect), {})
            for raw in feed.reads:
                texts.setdefault(raw, f"text{len(texts)}")

    def staged(number: int) -> Sheet | str:
        (path, dialect), texts = items[number]
        out = folder / f"{number}.parquet"
        try:
            counts = stage(path, dialect, {name: raw for raw, name in texts.items()}, 0, out)
        except DataError as error:
            return str(error)
        return Sheet(names[path], out, counts, texts)

    items = list(wanted.items())
    names = _names([path for path, _ in wanted])
    # The threads wait: each file is read by a child process of its own.
    with ThreadPoolExecutor(available_threads()) as pool:
        done = list(pool.map(staged, range(len(items))))
    if broken := [sheet for sheet in done if isinstance(sheet, str)]:
        raise DataError("\n".join(broken))
    sheets = dict(zip(wanted, done, strict=True))
    return {
        name: tuple(
            sheet for path in files[name]
            if isinstance(sheet := sheets[path, feed.dialect], Sheet)
        )
        for name, feed in feeds.items()
    }  # fmt: skip


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """A short name for each of ``paths``."""
    distinct = dict.fromkeys(paths)
    if len({path.name for path in distinct}) == len(distinct):
        return {path: path.name for path in distinct}
    above = os.path.commonpath([path.parent for path in distinct])
    return {path: path.relative_to(above).as_posix() for path in distinct}
