"""Every kind of input gives the tables that a CSV file gives, and is accounted for like one."""

import gzip
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import columns as c
from features import databases
from features.errors import ConfigError, DataError
from features.ingest import ingest
from features.raw_files import Dialect
from features.readers import json_object
from features.settings import Workspace
from features.sources import find_files, load_source
from features.staging import stage
from tests.features.test_feeds import HEAD, KEY, col, table
from tests.worlds import write_raw

pytestmark = pytest.mark.usefixtures("reader_here")
ROWS = [
    {"order": f"A{k}", "sku": f"p{k % 3}", "qty": k % 4 + 1, "price": Decimal(f"{k}.{k % 100:02d}"),
     "at": datetime(2024, 1, 1 + k % 28, k % 24, 5), "who": 100 + k % 5, "secret": "unseen"}
    for k in range(40)
]  # fmt: skip
NAMES = list(ROWS[0])
COLUMNS = {
    "order_id": col("order"),
    "product_id": col("sku"),
    "quantity": col("qty"),
    "unit_price": col("price"),
    "event_time": col("at"),
    "customer_ref": col("who"),
}


def texts(row: dict[str, Any]) -> tuple[str, ...]:
    """A row as a text file holds it."""
    return tuple(str(value) for value in row.values())


def as_csv(folder: Path) -> str:
    """The rows as CSV."""
    write_raw(folder / "t.csv", map(texts, ROWS), NAMES)
    return "t.csv"


def as_tsv(folder: Path) -> str:
    """The rows, tabs between them."""
    lines = ["\t".join(row) for row in [NAMES, *map(texts, ROWS)]]
    (folder / "t.tsv").write_text("\n".join(lines))
    return "t.tsv"


def as_json(folder: Path) -> str:
    """An object a line; numbers as numbers, and one of them nested."""
    plain = [{k: str(v) if k in ("at", "order") else v for k, v in row.items()} for row in ROWS]
    (folder / "t.jsonl").write_text("\n".join(json.dumps(row, default=float) for row in plain))
    return "t.jsonl"


def as_packed_json(folder: Path) -> str:
    """The same, packed."""
    path = folder / as_json(folder)
    (folder / "t.ndjson.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return "t.ndjson.gz"


def as_parquet(folder: Path) -> str:
    """Typed columns in several row groups."""
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "t.parquet", row_group_size=7)
    return "t.parquet"


def as_workbook(folder: Path) -> str:
    """Cells of a spreadsheet."""
    book = openpyxl.Workbook()
    book.active.append(NAMES)
    for row in ROWS:
        book.active.append([float(v) if isinstance(v, Decimal) else v for v in row.values()])
    book.save(folder / "t.xlsx")
    return "t.xlsx"


def as_folder(folder: Path) -> str:
    """Parts in a folder, among what is no part."""
    for number in range(3):
        write_raw(folder / "parts" / f"{number}.csv", map(texts, ROWS[number::3]), NAMES)
    (folder / "parts" / "_SUCCESS").write_text("")
    return "parts"


KINDS: list[Callable[[Path], str]] = [
    as_csv, as_tsv, as_json, as_packed_json, as_parquet, as_workbook, as_folder,
]  # fmt: skip


def declared(folder: Path, where: dict[str, Any], **more: Any) -> Any:
    """A source with the order lines at ``where``."""
    lines = {**table(COLUMNS, None, **more), **where}
    path = folder / "configs" / "data" / "shop.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(HEAD | {"order_lines": lines}, default=str))
    return load_source(Workspace.locate(configs=folder / "configs"), "shop", {})


def ingested(folder: Path, where: dict[str, Any], **more: Any) -> tuple[dict[str, Any], pa.Table]:
    """Facts and order lines, in the order of their numbers."""
    source = declared(folder, where, **more)
    out = folder / "out"
    out.mkdir()
    facts = ingest(source, find_files(source, folder, folder / "extracts"), KEY, out)
    return facts, pq.read_table(out / "order_lines.parquet")


def plain(lines: pa.Table) -> list[dict[str, Any]]:
    """Rows by order, without their number in the files."""
    return sorted(lines.drop_columns(c.ROW).to_pylist(), key=lambda row: row[c.ORDER])


@pytest.fixture
def expected(tmp_path: Path) -> list[dict[str, Any]]:
    """What the CSV file gives."""
    folder = tmp_path / "expected"
    folder.mkdir()
    return plain(ingested(folder, {"files": [as_csv(folder)]})[1])


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_gives_the_same_rows(
    tmp_path: Path, expected: list[dict[str, Any]], kind: Callable[[Path], str]
) -> None:
    """The same rows in each format, all of them seen and accepted; amounts by hand."""
    facts, lines = ingested(tmp_path, {"files": [kind(tmp_path)]})
    assert plain(lines) == expected
    assert facts["seen"] == facts["totals"]["accepted"] == len(ROWS)
    amounts = {row[c.ORDER]: row[c.AMOUNT] for row in lines.to_pylist()}
    assert amounts == {row["order"]: int(row["qty"] * row["price"] * 100) for row in ROWS}


@pytest.mark.parametrize("kind", [as_csv, as_json, as_parquet, as_workbook])
def test_a_column_of_currencies_is_not_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Path], str]
) -> None:
    """Beside amounts it is declared, or said to tell nothing of them; else the file is refused."""
    rows = [row | {"Currency Code": "EUR" if k else "USD"} for k, row in enumerate(ROWS)]
    monkeypatch.setattr(sys.modules[__name__], "ROWS", rows)
    monkeypatch.setattr(sys.modules[__name__], "NAMES", [*rows[0]])
    name = kind(tmp_path)
    remedy = f"table order_lines: 'Currency Code' of {name}; declare `currency: Currency Code`"
    with pytest.raises(DataError, match=remedy):
        ingested(tmp_path, {"files": [name]})
    for declared_as, aside in (("Currency Code", 1), (False, 0)):
        shutil.rmtree(tmp_path / "out")
        more = {"currency": declared_as, "max_quarantined_share": 0.1}
        facts, _ = ingested(tmp_path, {"files": [name]}, **more)
        assert facts["totals"]["quarantined"] == aside


# --- JSON Lines -----------------------------------------------------------------------------

BAD_JSON = {
    b'{"order": "B1", "sku"\n': "no JSON object: Expecting ':' delimiter",
    b"[1, 2]\n": "no JSON object",
    b'{"order": "B2", "order": "B3"}\n': "no JSON object: a key stands twice",
    b'{"price": NaN}\n': "no JSON object: NaN",
    b'{"order": "\xff"}\n': "not in the declared encoding",
    b'{"order": "\\ud800"}\n': "no JSON object: half a character",
    b'{"a":' * 100_000 + b"1\n": "no JSON object: nested too deeply",
    b'{"order": "' + b"x" * 1_000_001 + b'"}\n': "longer than 1000000 bytes",
    b'{"a": {"b": 1}, "a.b": 2}\n': "no JSON object: a key stands twice",
}


def test_bad_json_costs_one_line(tmp_path: Path) -> None:
    """Each line that is no record is set aside with its place, bytes and reason."""
    good = (tmp_path / as_json(tmp_path)).read_bytes().splitlines(keepends=True)
    lines = [part for pair in zip(good, BAD_JSON, strict=False) for part in pair]
    (tmp_path / "t.jsonl").write_bytes(b"".join([*lines, b"\n", *good[len(BAD_JSON) :]]))
    facts, kept = ingested(tmp_path, {"files": ["t.jsonl"]}, max_quarantined_share=0.5)
    reasons: dict[str, int] = {}
    for reason in BAD_JSON.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    assert facts["account"]["quarantined"] == reasons
    assert facts["account"]["filtered"] == {"blank line": 1}
    assert kept.num_rows == len(ROWS)
    aside = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert [row["raw"] for row in aside] == list(BAD_JSON)
    assert [row["line"] for row in aside] == [2 * k + 2 for k in range(len(BAD_JSON))]


def test_json_keeps_what_is_written() -> None:
    """Numbers keep their digits, objects open into dotted names, lists stay JSON."""
    raw = (
        b'{"a": 1.10, "b": {"c": true, "d": {"e": null}}, "f": [1, "x"], "g": 12345678901234567890}'
    )
    assert json_object(raw, "utf-8") == {
        "a": "1.10", "b.c": "true", "b.d.e": None, "f": '["1", "x"]', "g": "12345678901234567890",
    }  # fmt: skip


def test_json_without_a_declared_field(tmp_path: Path) -> None:
    """A field that no record has is named, with the near one."""
    (tmp_path / "t.jsonl").write_text('{"orders": "1", "sku": "x"}\n')
    with pytest.raises(DataError, match="'order' is missing; did 'orders' replace it"):
        ingested(tmp_path, {"files": ["t.jsonl"]})


# --- Parquet --------------------------------------------------------------------------------


def staged_texts(folder: Path, column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """A Parquet column as it is staged."""
    pq.write_table(pa.table({"x": column}), folder / "x.parquet")
    stage(folder / "x.parquet", Dialect(), {"x": "x"}, 0, folder / "out.parquet")
    found: list[str | None] = pq.read_table(folder / "out.parquet")["x"].to_pylist()
    return found


NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([13085.0, 1.5, float("nan"), None]), ["13085", "1.5", None, None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([date(2024, 7, 1)]), ["2024-07-01 00:00:00"]),
        (pa.array([NOON], pa.timestamp("us", "Europe/Paris")), ["2024-07-01 12:00:00+00:00"]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")), ["2024-07-01 12:00:00"]),
        (pa.array([Decimal("1.10")], pa.decimal128(9, 2)), ["1.10"]),
        (pa.array(["007", ""]).dictionary_encode(), ["007", ""]),
        (pa.array([2**63 - 1]), [str(2**63 - 1)]),
        (pa.array([[1, 2]]), ["[1, 2]"]),
    ],
    ids=str,
)
def test_parquet_values(tmp_path: Path, column: pa.Array, found: list[str | None]) -> None:
    """Typed values become the texts that a file would hold."""
    assert staged_texts(tmp_path, column) == found


def test_parquet_struct(tmp_path: Path) -> None:
    """Fields of a struct are columns with dotted names."""
    pq.write_table(pa.table({"a": [{"b": 1, "c": "x"}]}), tmp_path / "x.parquet")
    out = tmp_path / "out.parquet"
    stage(tmp_path / "x.parquet", Dialect(), {"x": "a.c"}, 0, out)
    assert pq.read_table(out)["x"].to_pylist() == ["x"]


@pytest.mark.usefixtures("reader_child")
@pytest.mark.parametrize("damage", ["cut", "footer", "empty"])
def test_damaged_parquet(tmp_path: Path, damage: str) -> None:
    """A file that is cut off or whose footer lies is refused; nothing is loaded from it."""
    path = tmp_path / as_parquet(tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "footer":
        data[-30:-20] = b"\xff" * 10
    path.write_bytes(b"" if damage == "empty" else data[:-100] if damage == "cut" else data)
    with pytest.raises(DataError, match=r"t\.parquet"):
        ingested(tmp_path, {"files": ["t.parquet"]})


# --- clocks and numbers as files spell them -------------------------------------------------


def products(folder: Path, column: dict[str, Any], values: list[str], zone: str) -> pa.Table:
    """The clock or price of products that a file spells as ``values``."""
    write_raw(folder / "p.csv", [(str(k), v) for k, v in enumerate(values)], ("sku", "x"))
    name = "event_time" if "format" in column else "price_minor"
    clock = {} if name == "event_time" else {"event_time": {"constant": "2024-01-01"}}
    columns = {"product_id": col("sku"), **clock, name: col("x", **column)}
    text = HEAD | {"time_zone": zone, "products": table(columns, "p.csv")}
    path = folder / "configs" / "data" / "shop.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(text))
    source = load_source(Workspace.locate(configs=folder / "configs"), "shop", {})
    (folder / "out").mkdir()
    ingest(source, find_files(source, folder), KEY, folder / "out")
    return pq.read_table(folder / "out" / "products.parquet").sort_by(c.ROW)[name].to_pylist()


def test_two_formats_in_one_column(tmp_path: Path) -> None:
    """The first format that fits counts."""
    column = {"format": ["%Y-%m-%d", "%d.%m.%Y"]}
    found = products(tmp_path, column, ["2024-07-01", "02.07.2024"], "UTC")
    assert found == [datetime(2024, 7, 1), datetime(2024, 7, 2)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ({"format": "%Y-%m-%d %H:%M:%S%z"}, "2024-07-01 10:00:00+00:00"),
        ({"format": "%Y-%m-%d %H:%M:%S%z"}, "2024-07-01 15:30:00+0530"),
        ({"format": "%Y-%m-%dT%H:%M:%SZ", "zone": "UTC"}, "2024-07-01T10:00:00Z"),
        ({"format": "%Y-%m-%d %H:%M", "zone": "America/New_York"}, "2024-07-01 06:00"),
        ({"format": "%Y-%m-%d %H:%M"}, "2024-07-01 11:00"),
    ],
)
def test_clocks_of_other_zones(tmp_path: Path, column: dict[str, Any], value: str) -> None:
    """Offsets and declared zones are brought to the source's own time, here London in summer."""
    assert products(tmp_path, column, [value], "Europe/London") == [datetime(2024, 7, 1, 11)]


def test_decimal_comma(tmp_path: Path) -> None:
    """European amounts by hand."""
    values = ["1.234,50", "7,5", "-0,01", "1 000", "12"]
    found = products(tmp_path, {"decimal_comma": True}, values, "UTC")
    assert found == [123_450, 750, -1, 100_000, 1_200]


# --- deliveries -----------------------------------------------------------------------------


def test_same_file_twice_changes_nothing(tmp_path: Path, expected: list[dict[str, Any]]) -> None:
    """A file that came again, byte by byte, is counted as duplicate and changes no row."""
    once = tmp_path / "once"
    once.mkdir()
    _, before = ingested(once, {"files": [as_csv(once)]})
    write_raw(tmp_path / "t-again.csv", map(texts, ROWS), NAMES)
    as_csv(tmp_path)
    facts, lines = ingested(tmp_path, {"files": ["t*.csv"]})
    assert lines.equals(before)
    assert facts["seen"] == 2 * len(ROWS)
    assert facts["account"]["duplicate"] == {"the same file again": len(ROWS)}
    assert plain(lines) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("ftp://bucket/t.csv", "s3:// or gs://"),
        ("/etc/passwd", "leads out of the data folder"),
        ("../t.csv", "leads out of the data folder"),
    ],
)
def test_files_outside_the_folder(tmp_path: Path, pattern: str, message: str) -> None:
    """Addresses, absolute paths and ways up are refused before anything is read."""
    with pytest.raises(ConfigError, match=message):
        declared(tmp_path, {"files": [pattern]})


# --- databases ------------------------------------------------------------------------------


def sqlite_shop(folder: Path, rows: list[dict[str, Any]] = ROWS) -> str:
    """The rows in SQLite, in a table whose name needs quotes."""
    path = folder / "shop.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute(
            'CREATE TABLE "order ""lines"" 2024" ("order", sku, qty, price, at, who)'
        )
        connection.executemany(
            'INSERT INTO "order ""lines"" 2024" VALUES (?, ?, ?, ?, ?, ?)',
            [texts(row)[:-1] for row in rows],
        )
    connection.close()
    return f"sqlite:///{path}"


SQLITE = {"url_variable": "SHOP_URL", "table": 'order "lines" 2024'}


def test_sqlite_table(
    tmp_path: Path, expected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come over, undeclared columns do not, and the same table again is the same file."""
    monkeypatch.setenv("SHOP_URL", sqlite_shop(tmp_path))
    facts, lines = ingested(tmp_path, {"database": SQLITE})
    assert plain(lines) == expected
    assert facts["seen"] == len(ROWS)
    (written,) = (tmp_path / "extracts").glob("*.jsonl.gz")
    assert b"unseen" not in gzip.decompress(written.read_bytes())
    source = declared(tmp_path, {"database": SQLITE})
    assert find_files(source, None, tmp_path / "extracts") == {"order_lines": [written]}
    sqlite_shop(tmp_path, list(reversed(ROWS)))
    assert find_files(source, None, tmp_path / "extracts") == {"order_lines": [written]}


def test_changed_table_keeps_the_old_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a table said before stays beside what it says now."""
    source = declared(tmp_path, {"database": SQLITE})
    names = []
    for rows in (ROWS, ROWS[:-1]):
        monkeypatch.setenv("SHOP_URL", sqlite_shop(tmp_path, rows))
        names += find_files(source, None, tmp_path / "extracts")["order_lines"]
    assert len(set(names)) == 2
    assert all(path.is_file() for path in names)


def test_query_with_bound_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are bound: what would be SQL is a text."""
    monkeypatch.setenv("SHOP_URL", sqlite_shop(tmp_path))
    query = 'SELECT * FROM "order ""lines"" 2024" WHERE sku <> :sku AND qty >= :least;'
    database = {"url_variable": "SHOP_URL", "query": query,
                "values": {"sku": "p1' OR '1'='1", "least": "2"}}  # fmt: skip
    _, lines = ingested(tmp_path, {"database": database})
    assert lines.num_rows == sum(row["qty"] >= 2 for row in ROWS)


@pytest.mark.parametrize(
    ("url", "database", "error", "message"),
    [
        (None, SQLITE, ConfigError, "SHOP_URL holds no URL"),
        ("nonsense", SQLITE, ConfigError, "is no URL of a database"),
        ("oracle://a:hidden@b/c", SQLITE, ConfigError, "one of the kinds mariadb, mysql"),
        ("sqlite:////nowhere/shop.db", SQLITE, DataError, "unable to open database file"),
        ("", {**SQLITE, "table": "missing"}, DataError, "no such table: missing"),
        (
            "",
            {"url_variable": "SHOP_URL", "query": "SELECT 1 AS x"},
            DataError,
            "'order' is missing",
        ),
        ("", {"url_variable": "SHOP_URL", "query": "DELETE FROM t RETURNING *"}, DataError, "near"),
        ("postgresql://u:hidden@127.0.0.1:1/x", SQLITE, DataError, "cannot be read"),
    ],
)
def test_database_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, database: dict[str, Any],
    error: type[Exception], message: str,
) -> None:  # fmt: skip
    """What is wrong is said, with the variable and without the password; nothing is left behind."""
    if url is None:
        monkeypatch.delenv("SHOP_URL", raising=False)
    else:
        monkeypatch.setenv("SHOP_URL", url or sqlite_shop(tmp_path))
    source = declared(tmp_path, {"database": database})
    with pytest.raises(error, match=message) as caught:
        find_files(source, None, tmp_path / "extracts")
    assert "SHOP_URL" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert not list((tmp_path / "extracts").glob("*"))


def test_mysql_without_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver is not installed the error names the extra."""
    try:
        import pymysql  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        monkeypatch.setenv("SHOP_URL", "mysql://u:hidden@127.0.0.1/x")
        with pytest.raises(ConfigError, match=r"pip install 'perennial\[mysql\]'"):
            find_files(declared(tmp_path, {"database": SQLITE}), None, tmp_path / "extracts")
    else:
        pytest.skip("the driver is installed")


def test_rows_that_do_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that gives fewer rows than it counts is refused."""
    monkeypatch.setenv("SHOP_URL", sqlite_shop(tmp_path))
    monkeypatch.setattr(databases, "BATCH", 7)
    monkeypatch.setattr(
        "sqlalchemy.engine.cursor.CursorResult.partitions",
        lambda result: iter([result.fetchmany(7)]),
    )
    with pytest.raises(DataError, match="7 rows were read, the database counts 40"):
        find_files(declared(tmp_path, {"database": SQLITE}), None, tmp_path / "extracts")


def test_postgres(
    tmp_path: Path,
    expected: list[dict[str, Any]],
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Typed columns of a real server: one read-only snapshot, names quoted, offsets kept."""
    import psycopg

    with psycopg.connect(postgres) as connection:
        connection.execute('CREATE SCHEMA "S"')
        connection.execute(
            'CREATE TABLE "S"."Order Lines" ("order" text, sku text, qty int, price numeric(9, 2), '
            "at timestamptz, who bigint, secret text)"
        )
        connection.cursor().executemany(
            'INSERT INTO "S"."Order Lines" VALUES (%s, %s, %s, %s, %s, %s, %s)',
            [(*(row | {"at": row["at"].replace(tzinfo=UTC)}).values(),) for row in ROWS],
        )
    monkeypatch.setenv("SHOP_URL", postgres)
    clock = COLUMNS | {"event_time": col("at", format="%Y-%m-%d %H:%M:%S%z")}
    monkeypatch.setitem(globals(), "COLUMNS", clock)
    _, lines = ingested(
        tmp_path, {"database": {"url_variable": "SHOP_URL", "table": "S.Order Lines"}}
    )
    assert plain(lines) == expected
    writing = {"url_variable": "SHOP_URL", "query": "SELECT nextval('counter') AS \"order\""}
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE counter")
    with pytest.raises(DataError, match="read-only transaction"):
        databases.extract({"t": (databases.Database(**writing), ["order"])}, tmp_path / "extracts")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute('DROP SCHEMA "S" CASCADE')
        connection.execute("DROP SEQUENCE counter")


def test_mysql(
    tmp_path: Path,
    expected: list[dict[str, Any]],
    mariadb: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Typed columns of a real server: one read-only transaction, names quoted."""
    import pymysql
    import sqlalchemy as sa

    socket = sa.make_url(mariadb).query["unix_socket"]
    with pymysql.connect(unix_socket=socket, user="root", database="shop") as connection:
        cursor = connection.cursor()
        cursor.execute(
            "CREATE TABLE `Order Lines` (`order` varchar(20), sku varchar(20), qty int, "
            "price decimal(9, 2), at datetime, who bigint, secret text)"
        )
        cursor.executemany(
            "INSERT INTO `Order Lines` VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [tuple(row.values()) for row in ROWS],
        )
        connection.commit()
    monkeypatch.setenv("SHOP_URL", mariadb)
    where = {"url_variable": "SHOP_URL", "table": "Order Lines"}
    _, lines = ingested(tmp_path, {"database": where})
    assert plain(lines) == expected
    bound = {"url_variable": "SHOP_URL", "query": "SELECT * FROM `Order Lines` WHERE qty < :most",
             "values": {"most": 0}}  # fmt: skip
    with pytest.raises(DataError, match="no row; expected at least one"):
        databases.extract({"t": (databases.Database(**bound), ["order"])}, tmp_path / "extracts")
    with pymysql.connect(unix_socket=socket, user="root", database="shop") as connection:
        connection.cursor().execute("CREATE SEQUENCE counter")
    writing = {"url_variable": "SHOP_URL", "query": "SELECT nextval(counter) AS `order`"}
    with pytest.raises(DataError, match="READ ONLY transaction"):
        databases.extract({"t": (databases.Database(**writing), ["order"])}, tmp_path / "extracts")


# --- object storage -------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["day/t-*.csv", "day", "day/t-0.csv"])
def test_object_storage(
    tmp_path: Path, expected: list[dict[str, Any]], bucket: Any, pattern: str
) -> None:
    """Objects by a glob, below a prefix, or by name are files like any other; marks are none."""
    parts = 1 if pattern.endswith("0.csv") else 3
    for number in range(parts):
        path = tmp_path / f"t-{number}.csv"
        write_raw(path, map(texts, ROWS[number::parts]), NAMES)
        bucket.upload_file(str(path), "shop", f"in/day/{path.name}")
    bucket.put_object(Bucket="shop", Key="in/day/_SUCCESS", Body=b"")
    facts, lines = ingested(tmp_path, {"files": [f"s3://shop/in/{pattern}"]})
    assert plain(lines) == expected
    assert sorted(k["file"] for k in facts["files"]) == [f"t-{n}.csv" for n in range(parts)]


def test_an_object_that_changes_supersedes(tmp_path: Path, bucket: Any) -> None:
    """What is there now is read; the same again is the same file, byte by byte."""
    source = declared(tmp_path, {"files": ["s3://shop/t.csv"]})
    bucket.put_object(Bucket="shop", Key="t.csv", Body=b"old")
    (old,) = find_files(source, None, tmp_path / "extracts")["order_lines"]
    assert old.read_bytes() == b"old"
    bucket.put_object(Bucket="shop", Key="t.csv", Body=b"newer")
    (new,) = find_files(source, None, tmp_path / "extracts")["order_lines"]
    assert (new, new.read_bytes()) == (old, b"newer")
    assert find_files(source, None) == {"order_lines": []}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://shop/none-*.csv", "no object matches"),
        ("s3://elsewhere/t.csv", "no object matches"),
        ("s3://u:hidden@shop/t.csv", "credentials come from the environment"),
        ("https://shop.example/t.csv", "s3:// or gs://"),
    ],
)
def test_objects_that_cannot_be_read(tmp_path: Path, bucket: Any, url: str, message: str) -> None:
    """What is wrong is said without any credentials; nothing is left behind."""
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        find_files(declared(tmp_path, {"files": [url]}), None, tmp_path / "extracts")
    assert "hidden" not in str(caught.value)
    assert not [p for p in (tmp_path / "extracts").rglob("*") if p.is_file()]
