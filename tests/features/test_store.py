"""Publishing: whole or absent, whatever happens in between."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from features import ingest, store
from features.errors import DataError
from features.settings import Workspace
from features.store import CURRENT, MANIFEST, Published, current, publish, scratch
from features.tables import build_tables
from tests.worlds import CONFIGS, ROOT, good, raw, source, write_raw


def writer(text: str) -> Callable[[Path], dict[str, Any]]:
    """A step that writes ``text`` into two files, one of them in a folder."""

    def write(folder: Path) -> dict[str, Any]:
        (folder / "a.txt").write_text(text)
        (folder / "deep").mkdir()
        with (folder / "deep" / "b.txt").open("w") as stream:
            for _ in range(3):
                stream.write(text)
        return {"text": text}

    return write


def assert_whole(published: Published, text: str) -> None:
    """All files of ``published`` are there with the bytes that the manifest names."""
    manifest = json.loads((published.folder / MANIFEST).read_text())
    assert manifest["facts"] == {"text": text}
    assert set(manifest["files"]) == {"a.txt", "deep/b.txt"}
    for name, entry in manifest["files"].items():
        data = (published.folder / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert (published.folder / "a.txt").read_text() == text


def entries(root: Path) -> set[str]:
    """Names in ``root``."""
    return {path.name for path in root.iterdir()} if root.exists() else set()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A room to publish in."""
    return tmp_path / "room"


# --- the undisturbed run --------------------------------------------------------------------


def test_publish_and_find_again(root: Path) -> None:
    """A published folder is whole, pointed to, and not made twice."""
    assert current(root) is None
    made = publish(root, "k1", writer("one"))
    assert made.fresh
    assert_whole(made, "one")

    def refuse(_: Path) -> dict[str, Any]:
        raise AssertionError("made again")

    again = publish(root, "k1", refuse)
    assert not again.fresh
    assert again.manifest == made.manifest
    assert current(root).folder == made.folder
    assert entries(root) == {"k1", CURRENT}


def test_current_is_the_newest(root: Path) -> None:
    """The pointer follows the last publish, also when that one was there already."""
    for key in ("k1", "k2", "k1"):
        publish(root, key, writer(key))
        assert current(root).folder == root / key
    assert_whole(current(root), "k1")
    assert entries(root) == {"k1", "k2", CURRENT}


def test_content_is_of_the_files(root: Path) -> None:
    """Equal files give equal content under any key; facts do not count, names and bytes do."""
    content = publish(root, "k1", writer("one")).content

    def renamed(folder: Path) -> dict[str, Any]:
        writer("one")(folder)
        (folder / "a.txt").rename(folder / "c.txt")
        return {}

    def other_facts(folder: Path) -> dict[str, Any]:
        return {**writer("one")(folder), "more": 1}

    assert publish(root, "k2", other_facts).content == content
    assert publish(root, "k3", writer("two")).content != content
    assert publish(root, "k4", renamed).content != content


def test_failed_step_leaves_nothing(root: Path) -> None:
    """An error in a step leaves the old folder, no half of the new one, and reaches the caller."""
    publish(root, "old", writer("old"))

    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half.txt").write_text("half")
        raise DataError("broken input")

    with pytest.raises(DataError, match="broken input"):
        publish(root, "new", fail)
    assert entries(root) == {"old", CURRENT}
    assert_whole(current(root), "old")


# --- what others did to it ------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["shorter", "longer", "missing", "a folder"])
def test_changed_file_is_noticed(root: Path, damage: str) -> None:
    """A file that is not as it was published is named; nobody reads past it."""
    folder = publish(root, "k1", writer("one")).folder
    path = folder / "deep" / "b.txt"
    if damage == "shorter":
        path.write_text("on")
    elif damage == "longer":
        path.write_text("oneoneone!")
    else:
        path.unlink()
        if damage == "a folder":
            path.mkdir()
    for reader in (lambda: publish(root, "k1", writer("one")), lambda: current(root)):
        with pytest.raises(DataError) as caught:
            reader()
        assert str(path) in str(caught.value)
        assert f"remove {folder} and run again" in str(caught.value)


@pytest.mark.parametrize("manifest", [b"", b"{", b"\xff", b"[]", b"{}", b'{"files": {"a": 1}}'])
def test_unreadable_manifest_is_named(root: Path, manifest: bytes) -> None:
    """A manifest that cannot be read is one clear error."""
    folder = publish(root, "k1", writer("one")).folder
    (folder / MANIFEST).write_bytes(manifest)
    with pytest.raises(DataError, match="no readable manifest.json"):
        current(root)


def test_folder_without_manifest_is_named(root: Path) -> None:
    """A folder in the way that no run published is neither used nor overwritten."""
    (root / "k1").mkdir(parents=True)
    (root / "k1" / "theirs.txt").write_text("theirs")
    with pytest.raises(DataError, match="no readable manifest.json"):
        publish(root, "k1", writer("one"))
    assert entries(root / "k1") == {"theirs.txt"}
    assert entries(root) == {"k1"}


def test_leftovers_of_dead_processes_go(root: Path) -> None:
    """What a killed process left is removed by the next run; what a living one writes is not."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    root.mkdir()
    for pid in (dead.pid, os.getpid()):
        (root / f".scratch-00000000-{pid}").mkdir()
        (root / f".scratch-00000000-{pid}" / "half.txt").write_text("half")
        (root / f".{CURRENT}-00000000-{pid}").write_text("k0")
    with scratch(root) as folder:
        assert folder.parent == root
        assert entries(folder) == set()
        assert folder.stat().st_mode & 0o077 == 0
    living = {f".scratch-00000000-{os.getpid()}", f".{CURRENT}-00000000-{os.getpid()}"}
    assert entries(root) == living


# --- killed at every line -------------------------------------------------------------------


def _kill_at(point: int) -> None:
    """Kill this process at the ``point``-th line of the store or of a step."""
    left = [point]
    watched = {store.__file__, __file__}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in watched:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def _in_child(work: Callable[[], Any]) -> int:
    """Run ``work`` in a fork; the signal that ended it, 0 if none did."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def sweep(base: Path, old: bool) -> int:
    """Kill a publisher at each of its lines in turn; how many there are."""
    store.os.fsync = lambda _: None  # a kill loses no write that the system has; and it is quick
    text = "x" * 10_000
    expected = publish(base / "undisturbed", "new", writer(text)).content

    def disturbed(root: Path, point: int) -> None:
        _kill_at(point)
        publish(root, "new", writer(text))

    point, done = 0, False
    while not done:
        point += 1
        root = base / str(point)
        if old:
            publish(root, "old", writer("old"))
        ended = _in_child(lambda root=root, point=point: disturbed(root, point))
        assert ended in (0, -signal.SIGKILL), ended
        done = ended == 0

        seen = current(root)  # what a reader finds after the kill
        if seen is None:
            assert not old, point
        else:
            assert_whole(seen, text if seen.folder.name == "new" else "old")
        folders = {name for name in entries(root) if not name.startswith(".")} - {CURRENT}
        assert folders <= {"old", "new"}, (point, folders)

        again = publish(root, "new", writer(text))  # a rerun, nothing mended by hand
        assert again.content == expected, point
        assert_whole(current(root), text)
        assert current(root).folder.name == "new", point
        assert entries(root) == {CURRENT, "new", *(["old"] if old else [])}, point
    return point - 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_killed_at_every_line(tmp_path: Path) -> None:
    """Killed anywhere, readers see old or new whole; a rerun ends with the same content hash."""
    folders = {tmp_path / "after another": True, tmp_path / "first": False}
    calls = [f"sweep(Path({str(folder)!r}), {old})" for folder, old in folders.items()]
    code = f"""
from pathlib import Path
from tests.features.test_store import sweep
print({", ".join(calls)})
"""
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert all(int(points) > 60 for points in child.stdout.split())


STAGES = ("ingest.balanced", "ingest._table", "ingest.set_aside", "store._point")


def kill_builds(data: str) -> None:
    """Build tables once for each of ``STAGES`` and be killed on reaching it."""
    place = Workspace.locate(data=Path(data), configs=CONFIGS)
    declared = source(place)

    def build(where: str) -> None:
        module, name = where.split(".")
        setattr({"ingest": ingest, "store": store}[module], name, _killed)
        build_tables(place, declared)

    for where in STAGES:
        assert _in_child(lambda where=where: build(where)) == -signal.SIGKILL, where
        assert current(place.store / "tables" / declared.name) is None, where


def _killed(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
@pytest.mark.usefixtures("reader_here")
def test_killed_build_goes_on(place: Workspace) -> None:
    """A build of tables killed at any stage ends, run again, as if nothing had been."""
    records = [*good(20), raw("C500001", quantity=-1, when="2010-06-02 10:00:00")]
    write_raw(place.data / "online_retail_II.csv", records)
    call = f"kill_builds({str(place.data)!r})"
    code = f"from tests.features.test_store import kill_builds; {call}"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    root = place.store / "tables" / "online_retail_II"
    key = next(name for name in entries(root) if not name.startswith("."))
    left = build_tables(place, source(place)).published
    assert (left.folder.name, left.fresh) == (key, False)
    elsewhere = place.model_copy(update={"store": place.store / "undisturbed"})
    undisturbed = build_tables(elsewhere, source(place)).published
    assert undisturbed.fresh
    assert undisturbed.content == left.content
    assert entries(root) == {key, CURRENT}


# --- two at once ----------------------------------------------------------------------------


def together(*works: Callable[[], Any]) -> list[Any]:
    """Results of ``works``, begun at the same time in threads."""
    results: list[Any] = [None] * len(works)

    def run(number: int) -> None:
        try:
            results[number] = works[number]()
        except BaseException as error:  # noqa: BLE001
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("keys", [("k", "k"), ("k1", "k2")])
def test_two_publishers_at_once(tmp_path: Path, keys: tuple[str, str]) -> None:
    """Two that publish at the same time both succeed; of one key there is one folder."""
    for attempt in range(20):
        root = tmp_path / str(attempt)
        meet = threading.Barrier(2)

        def work(key: str, root: Path = root, meet: threading.Barrier = meet) -> Published:
            def write(folder: Path) -> dict[str, Any]:
                meet.wait()
                return writer("same")(folder)

            return publish(root, key, write)

        first, second = together(lambda: work(keys[0]), lambda: work(keys[1]))
        for published in (first, second):
            assert isinstance(published, Published), published
            assert_whole(published, "same")
        assert first.content == second.content
        assert current(root).folder.name in keys
        assert entries(root) == {*keys, CURRENT}


def test_two_processes_at_once(tmp_path: Path) -> None:
    """The same between processes, each waiting inside its step until the other is there too."""
    code = """
import sys, time
from pathlib import Path
from features.store import publish
root, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def write(folder):
    (root.parent / me).touch()
    while not (root.parent / other).exists():
        time.sleep(0.001)
    (folder / "a.txt").write_text("same")
    return {}

print(publish(root, "k", write).content)
"""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "room"), *names],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for names in (("one", "two"), ("two", "one"))
    ]
    contents = {child.communicate()[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0]
    assert contents == {current(tmp_path / "room").content.encode()}
    assert entries(tmp_path / "room") == {"k", CURRENT}
