"""The engine reaches its folders and nothing else, and nothing in a query can change that."""

import os
from pathlib import Path

import duckdb
import pytest

from features.engine import connect


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder for the engine, beside it a secret, and links that lead there."""
    room = tmp_path / "room"
    (tmp_path / "room2").mkdir()
    room.mkdir()
    for path in (room / "ours.csv", tmp_path / "secret.csv", tmp_path / "room2" / "secret.csv"):
        path.write_text("x\n1\n")
    (room / "link.csv").symlink_to(tmp_path / "secret.csv")
    (room / "out").symlink_to(tmp_path)
    return room


def test_own_folder_is_readable(room: Path) -> None:
    """Files in the folder are read and written."""
    backend = connect(room)
    ours = room / "ours.csv"
    assert backend.raw_sql(f"SELECT x FROM read_csv('{ours}')").fetchall() == [(1,)]
    backend.raw_sql(f"COPY (SELECT 2 AS x) TO '{room}/more.csv'")
    assert (room / "more.csv").read_text() == "x\n2\n"
    assert backend.raw_sql("SELECT current_setting('temp_directory')").fetchall() == [(str(room),)]


def test_folders_are_taken_literally(tmp_path: Path) -> None:
    """A quote in a folder's name is a quote in its name."""
    folder = tmp_path / "it's; SET lock_configuration = false; --"
    folder.mkdir()
    (folder / "a.csv").write_text("x\n1\n")
    backend = connect(folder, tmp_path / "other")
    path = str(folder / "a.csv").replace("'", "''")
    assert backend.raw_sql(f"SELECT x FROM read_csv('{path}')").fetchall() == [(1,)]
    with pytest.raises(duckdb.Error, match="configuration has been locked"):
        backend.raw_sql("SET threads = 1")


OUTSIDE = {
    "a file beside": "SELECT * FROM read_csv('{base}/secret.csv')",
    "by its bare name": "SELECT * FROM '{base}/secret.csv'",
    "upwards": "SELECT * FROM read_csv('{room}/../secret.csv')",
    "a folder that begins alike": "SELECT * FROM read_csv('{room}2/secret.csv')",
    "a link to a file": "SELECT * FROM read_csv('{room}/link.csv')",
    "a link to a folder": "SELECT * FROM read_csv('{room}/out/secret.csv')",
    "text": "SELECT * FROM read_text('{base}/secret.csv')",
    "bytes": "SELECT * FROM read_blob('{base}/secret.csv')",
    "the names": "SELECT * FROM glob('{base}/*')",
    "the system": "SELECT * FROM read_text('/etc/hostname')",
    "writing": "COPY (SELECT 1) TO '{base}/written.csv'",
    "writing through a link": "COPY (SELECT 1) TO '{room}/out/written.csv'",
    "attaching": "ATTACH '{base}/written.db'",
    "exporting": "EXPORT DATABASE '{base}/written'",
    "importing": "IMPORT DATABASE '{base}'",
    "the network": "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "a bucket": "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "installing": "INSTALL httpfs",
    "installing from elsewhere": "INSTALL h3 FROM community",
    "loading": "LOAD httpfs",
    "loading a file": "LOAD '{room}/ours.csv'",
    "secrets": "CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')",
}


@pytest.mark.parametrize("query", OUTSIDE.values(), ids=OUTSIDE)
def test_nothing_else_is_reached(room: Path, query: str) -> None:
    """No file outside, no network and no extension; nothing is written there either."""
    base = room.parent
    before = sorted(base.rglob("*"))
    backend = connect(room)
    with pytest.raises(duckdb.Error):
        backend.raw_sql(query.format(room=room, base=base)).fetchall()
    assert sorted(base.rglob("*")) == before


@pytest.mark.parametrize(
    "query",
    [
        "SET lock_configuration = false",
        "SET GLOBAL lock_configuration = false",
        "PRAGMA lock_configuration = false",
        "RESET lock_configuration",
        "SET enable_external_access = true",
        "RESET enable_external_access",
        "SET allowed_directories = ['/']",
        "SET allowed_paths = ['/etc/hostname']",
        "SET temp_directory = '/tmp'",
        "SET autoinstall_known_extensions = true",
        "SET autoload_known_extensions = true",
        "SET allow_unsigned_extensions = true",
        "SET extension_directory = '/tmp'",
        "SET memory_limit = '64GB'",
        "SET threads = 64",
    ],
)
def test_backend_cannot_be_unlocked(room: Path, query: str) -> None:
    """No statement changes a setting."""
    backend = connect(room)
    with pytest.raises(duckdb.Error, match="configuration has been locked|Cannot change"):
        backend.raw_sql(query)


def test_size_comes_from_environment(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads and memory are the environment's unless given."""

    def size(**given: int | str) -> tuple[int, str]:
        query = "SELECT current_setting('threads'), current_setting('memory_limit')"
        return connect(room, **given).raw_sql(query).fetchall()[0]  # type: ignore[arg-type]

    monkeypatch.delenv("PERENNIAL_THREADS", raising=False)
    monkeypatch.setenv("PERENNIAL_MEMORY", "512MiB")
    assert size() == (os.cpu_count(), "512.0 MiB")
    monkeypatch.setenv("PERENNIAL_THREADS", "3")
    assert size() == (3, "512.0 MiB")
    assert size(threads=2, memory="256MiB") == (2, "256.0 MiB")


def test_backend_without_folders_reaches_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no folder is given, nothing is written, not even below the current one."""
    (tmp_path / ".tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    backend = connect()
    with pytest.raises(duckdb.Error):
        backend.raw_sql(f"COPY (SELECT 1) TO '{tmp_path}/.tmp/written.csv'")
