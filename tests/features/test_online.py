"""Profiles: typed and exact, whole or absent, and what a person reads when they are not there."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features import columns as c
from features import profile_stores
from features.__main__ import app
from features.compute import arrow_schema
from features.errors import ConfigError, DataError
from features.identity import customer_ids, customer_key
from features.online import Profiles
from features.profile_stores import open_store
from features.publishing import publish_profiles
from features.schema import FeatureColumn
from features.settings import Workspace
from features.sources import Source, load_source
from features.store import CURRENT
from tests.worlds import CONFIGS, ROOT

CUTOFF = datetime(2025, 6, 30)
NOW = datetime(2025, 7, 2, 12)
COLUMNS = [
    FeatureColumn(name="x__a", unit="ratio", meaning="a", missing="unknown"),
    FeatureColumn(name="x__word", dtype="string", unit="category", meaning="w", missing="unknown"),
    FeatureColumn(name="x__b", unit="orders", meaning="b", missing="never", fill=0),
]
ODD = [-0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2]
ROWS = [
    {c.CUSTOMER: 2**63 - 1, "x__a": ODD[3], "x__word": "größer 'als'\n\"das\"", "x__b": 1.0},
    {c.CUSTOMER: 1, "x__a": ODD[0], "x__word": None, "x__b": 0.0},
    {c.CUSTOMER: 2, "x__a": None, "x__word": "", "x__b": ODD[1]},
    {c.CUSTOMER: 3, "x__a": ODD[2], "x__word": "null", "x__b": 2.0},
]


@pytest.fixture
def source(place: Workspace) -> Source:
    """The simulated source, by its name and time zone."""
    return load_source(place, "simulated", {})


def feature_table(
    folder: Path, rows: list[dict[str, Any]] = ROWS, content: str = "first", columns: Any = COLUMNS
) -> Path:
    """A published feature table with an older cutoff beside the one that counts."""
    folder.mkdir(parents=True)
    schema = arrow_schema(columns)
    for moment, part in ((CUTOFF, rows), (CUTOFF - timedelta(days=30), rows[:1])):
        ordered = sorted(part, key=lambda row: row[c.CUSTOMER])
        table = pa.Table.from_pylist([{**row, c.CUTOFF: moment} for row in ordered], schema=schema)
        pq.write_table(table, folder / f"features-{moment:%Y-%m-%dT%H%M%S}.parquet")
    spelled = [column.model_dump() for column in columns]
    (folder / "schema.json").write_text(json.dumps(spelled))
    (folder / "manifest.json").write_text(json.dumps({"content": content}))
    return folder


def numbered(value: float, customers: int = 300) -> list[dict[str, Any]]:
    """Profiles that all say ``value``, so that a mixture of two publications shows."""
    word = str(value)
    return [
        {c.CUSTOMER: k, "x__a": value, "x__word": word, "x__b": value} for k in range(customers)
    ]


# --- stores ---------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Each store in turn; Redis is an imitation in process, as no server is installed."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/profiles"
    elif request.param == "postgres":
        url = request.getfixturevalue("postgres")
        yield url
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            for (name,) in found:
                connection.execute(psycopg.sql.SQL("DROP TABLE {}").format(
                    psycopg.sql.Identifier(name)))  # fmt: skip
    else:
        redis = pytest.importorskip("redis", reason="the client of the extra `redis` is missing")
        fake = pytest.importorskip("fakeredis", reason="stands in for a Redis server")
        server = fake.FakeServer()
        monkeypatch.setattr(redis.Redis, "from_url", lambda _: fake.FakeRedis(server=server))
        yield "redis://stand-in/0"


def test_profiles_are_exact(url: str, source: Source, tmp_path: Path) -> None:
    """Every bit of a number, missing values, words of any kind, and the age."""
    published = publish_profiles(url, feature_table(tmp_path / "f"), source, lambda: NOW)
    with Profiles.open(url, source.name, COLUMNS, clock=lambda: NOW) as profiles:
        meta = profiles.meta()
        assert meta == published
        assert (meta.rows, meta.cutoff, meta.published_at) == (4, CUTOFF, NOW)
        found = profiles.get_many([row[c.CUSTOMER] for row in ROWS])
        for row in ROWS:
            profile = found[row[c.CUSTOMER]]
            assert list(profile.values) == [k.name for k in COLUMNS]
            expected = {k: row[k] for k in profile.values}
            assert repr(profile.values) == repr(expected)
            assert profile.age_days == 2.5
            assert profiles.get(row[c.CUSTOMER]) == profile


def test_unknown_customers(url: str, source: Source, tmp_path: Path) -> None:
    """No profile is None, whatever the number."""
    publish_profiles(url, feature_table(tmp_path / "f"), source)
    with Profiles.open(url, source.name) as profiles:
        assert profiles.get(4) is None
        assert profiles.get(-1) is None
        assert profiles.get(2**70) is None
        assert profiles.get_many([]) == {}
        assert list(profiles.get_many([4, 3, 2**70])) == [3]


def test_by_the_source_own_number(
    url: str, source: Source, place: Workspace, tmp_path: Path
) -> None:
    """With the key, a source's customer number leads to the profile."""
    key = customer_key(place.keys)
    ours = customer_ids(source.name, ["S000001"], key)["S000001"]
    rows = [{c.CUSTOMER: ours, "x__a": 7.0, "x__word": None, "x__b": 0.0}]
    publish_profiles(url, feature_table(tmp_path / "f", rows), source)
    with Profiles.open(url, source.name) as profiles:
        found = profiles.find("S000001", key)
        assert found is not None
        assert found.values["x__a"] == 7.0
        assert profiles.find("S000002", key) is None


def test_new_publication_reaches_open_readers(url: str, source: Source, tmp_path: Path) -> None:
    """A reader goes over to the new publication; the same one again changes nothing."""
    tables = [feature_table(tmp_path / f"f{k}", numbered(k), str(k)) for k in range(4)]
    publish_profiles(url, tables[0], source)
    with Profiles.open(url, source.name) as profiles:
        for value in (0, 1, 2, 3, 3, 2):
            publish_profiles(url, tables[value], source)
            found = profiles.get(5)
            assert found is not None
            assert found.values == {"x__a": value, "x__word": str(value), "x__b": value}


def test_other_columns_are_refused(url: str, source: Source, tmp_path: Path) -> None:
    """A reader that expects other columns is told which, also when they change under it."""
    publish_profiles(url, feature_table(tmp_path / "f"), source)
    other = FeatureColumn(name="x__word", unit="ratio", meaning="w", missing="unknown")
    with pytest.raises(DataError, match="'x__word' is published as string, expected float64"):
        Profiles.open(url, source.name, [other])
    with Profiles.open(url, source.name, COLUMNS) as profiles:
        rows = [{k: v for k, v in row.items() if k != "x__b"} for row in ROWS]
        fewer = feature_table(tmp_path / "g", rows, "second", COLUMNS[:2])
        publish_profiles(url, fewer, source)
        with pytest.raises(DataError, match="'x__b' is not published"):
            profiles.get(1)


def test_other_format_is_refused(
    url: str, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another version wrote is not guessed at."""
    with monkeypatch.context() as patch:
        patch.setattr("features.publishing.FORMAT", 99)
        publish_profiles(url, feature_table(tmp_path / "f"), source)
    with pytest.raises(DataError, match="profiles of format 99; this version reads 1"):
        Profiles.open(url, source.name)


def test_nothing_published(url: str) -> None:
    """The error says what to run."""
    with pytest.raises(DataError, match="python -m features publish"):
        Profiles.open(url, "simulated")


def test_failed_publisher_changes_nothing(url: str, source: Source, tmp_path: Path) -> None:
    """An error half way through leaves the old publication whole; the next try succeeds."""
    old, new = (feature_table(tmp_path / str(k), numbered(k), str(k)) for k in (1, 2))
    publish_profiles(url, old, source)
    with open_store(url, source.name) as store:
        _, facts, found = store.read([7])

        def stops() -> Iterator[Any]:
            yield 7, b"x", None
            raise KeyError("half way")

        with pytest.raises(KeyError, match="half way"):
            store.publish("another", facts, stops)
        assert store.read([7])[2] == found
    publish_profiles(url, new, source)
    with Profiles.open(url, source.name) as profiles:
        assert {p.values["x__a"] for p in profiles.get_many(range(300)).values()} == {2.0}


def test_readers_see_one_publication(url: str, source: Source, tmp_path: Path) -> None:
    """Two publishers and readers in threads: each call is answered from one publication."""
    tables = [feature_table(tmp_path / str(k), numbered(k, 60), str(k)) for k in range(6)]
    publish_profiles(url, tables[0], source)
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        with contextlib.suppress(Exception), Profiles.open(url, source.name) as profiles:
            while not done.is_set():
                try:
                    found = profiles.get_many(range(60))
                except Exception as error:
                    wrong.append(error)
                    return
                values = {v for p in found.values() for v in map(float, p.values.values())}
                if len(values) != 1 or len(found) != 60:
                    wrong.append(values)

    def write(order: list[int]) -> None:
        for number in order:
            publish_profiles(url, tables[number], source)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(o,)) for o in ([1, 2, 3], [4, 5, 1])]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not wrong


# --- SQLite ---------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from features import store
from features.profile_stores import open_store

def rows():
    for number in range(1000):
        yield number, b"x" * 24, None
        if number == 500 and sys.argv[2] == "filling":
            os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "pointing":
    store._point = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
open_store(sys.argv[1], "simulated").publish("killed", {"format": 1}, rows)
"""


@pytest.mark.parametrize("step", ["filling", "pointing"])
def test_killed_publisher(step: str, source: Source, tmp_path: Path) -> None:
    """SIGKILL while rows are written, or before the pointer moves: the old profiles stay."""
    url = f"sqlite:///{tmp_path}/profiles"
    publish_profiles(url, feature_table(tmp_path / "f"), source)
    killed = subprocess.run([sys.executable, "-c", KILLED, url, step], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    with Profiles.open(url, source.name, COLUMNS) as profiles:
        assert profiles.get(3) is not None
        publish_profiles(url, feature_table(tmp_path / "g", numbered(2), "2"), source)
        found = profiles.get(3)
        assert found is not None
        assert found.values["x__a"] == 2.0
    left = [p.name for p in (tmp_path / "profiles" / "simulated").glob(".scratch-*")]
    assert not left


def test_two_publications_are_kept(source: Source, tmp_path: Path) -> None:
    """The current one and the one before; older ones go."""
    url = f"sqlite:///{tmp_path}/profiles"
    for k in range(4):
        publish_profiles(url, feature_table(tmp_path / str(k), numbered(k), str(k)), source)
    folders = [p for p in (tmp_path / "profiles" / "simulated").iterdir() if p.is_dir()]
    assert len(folders) == 2


def test_broken_file(source: Source, tmp_path: Path) -> None:
    """A pointer into nothing and a damaged file are said, not guessed around."""
    url, root = f"sqlite:///{tmp_path}/profiles", tmp_path / "profiles" / "simulated"
    publish_profiles(url, feature_table(tmp_path / "f"), source)
    file = root / (root / CURRENT).read_text() / profile_stores.FILE
    file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(DataError, match="cannot be read"):
        Profiles.open(url, source.name).get(1)
    (root / CURRENT).write_text("nowhere")
    with pytest.raises(DataError, match="the publication that CURRENT names cannot be read"):
        Profiles.open(url, source.name)


def test_readers_cannot_write(source: Source, tmp_path: Path) -> None:
    """A reader's connection is read-only."""
    url = f"sqlite:///{tmp_path}/profiles"
    publish_profiles(url, feature_table(tmp_path / "f"), source)
    store = open_store(url, source.name)
    store.read([1])
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store._local.opened[2].execute("DELETE FROM profiles")  # type: ignore[attr-defined]
    store.close()


# --- URLs, drivers, door --------------------------------------------------------------------


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "profiles", "sqlite://host/x", ""])
def test_odd_urls(url: str) -> None:
    """A URL that names no store is refused, without what may be a password."""
    with pytest.raises(ConfigError, match="profile store .*: expected sqlite") as caught:
        open_store(url, "simulated")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [("psycopg", "postgresql://u:secret@h/d", "postgres"), ("redis", "redis://:secret@h", "redis")],
)
def test_missing_driver(module: str, url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"perennial\[{extra}\]"):
        open_store(url, "simulated")


@pytest.mark.parametrize(
    ("module", "url"),
    [
        ("psycopg", "postgresql://u:secret@127.0.0.1:1/d?connect_timeout=2"),
        ("redis", "redis://:secret@127.0.0.1:1/0"),
    ],
)
def test_store_that_does_not_answer(module: str, url: str) -> None:
    """A server that is not there is a clear error without the password."""
    pytest.importorskip(module, reason="the driver is not installed")
    with pytest.raises(DataError, match="does not answer") as caught:
        Profiles.open(url, "simulated")
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("reader_here")
def test_door(place: Workspace) -> None:
    """The command publishes the end of the data, or a date within them, and says what."""
    config = str(CONFIGS / "churn.yaml")
    small = ["--set", "source={simulate: {customers: 60, days: 400, tables: [order_lines]}}",
             "--set", "features=[{use: rfm.Rfm}]"]  # fmt: skip
    done = CliRunner().invoke(app, ["publish", config, *small])
    assert done.exit_code == 0, done.output
    assert "4 columns, as of 2025-06-" in done.output
    url = f"sqlite:///{place.store}/profiles"
    with Profiles.open(url, "simulated") as profiles:
        assert profiles.meta().rows > 30
    done = CliRunner().invoke(app, ["publish", config, *small, "--cutoff", "2025-05-01"])
    assert "as of 2025-05-01" in done.output
    for odd in ("tomorrow", "1999-01-01", "2025-07-15", "2025-05-01T00:00:00+00:00"):
        done = CliRunner().invoke(app, ["publish", config, *small, "--cutoff", odd])
        assert done.exit_code == 2
        assert "expected a date" in done.output
