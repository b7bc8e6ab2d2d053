"""Profiles on servers: PostgreSQL and Redis, whose drivers are extras."""

import json
import threading
from collections.abc import Sequence
from typing import Any

from features.errors import ConfigError, DataError
from features.profile_stores import TRIES, Closing, Fill, Read, nothing_published
from features.settings import fingerprint

Known = tuple[str, dict[str, Any], Any]
REDIS_KEEP_SECONDS = 3_600
"""How long a publication stays after the next."""
REDIS_WRITE_SECONDS = 86_400
"""How long an unfinished one stays."""


# --- PostgreSQL -----------------------------------------------------------------------------


class PostgresStore(Closing):
    """A table per publication and a row that names the current one, swapped in one transaction."""

    def __init__(self, url: str, source: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise ConfigError(
                "profiles on PostgreSQL need psycopg: pip install 'perennial[postgres]'"
            ) from None
        self._driver, self._url, self.source = psycopg, url, source
        self._local = threading.local()

    def publish(self, key: str, facts: dict[str, Any], fill: Fill) -> None:
        """Copy into a new table, point at it and drop what is no longer needed, or do nothing."""
        sql = self._driver.sql
        try:
            with self._driver.connect(self._url) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext('perennial_profiles'))")
                cursor.execute(
                    "CREATE TABLE IF NOT EXISTS perennial_profiles (source text PRIMARY KEY, "
                    "publication text NOT NULL, previous text, facts text NOT NULL)"
                )
                cursor.execute(
                    "SELECT publication, previous FROM perennial_profiles WHERE source = %s",
                    [self.source],
                )
                now, previous = cursor.fetchone() or (None, None)
                if now == key:
                    return
                table = sql.Identifier(_table(self.source, key))
                if key != previous:
                    cursor.execute(
                        sql.SQL(
                            "CREATE TABLE {} (customer_id bigint PRIMARY KEY, "
                            "numbers bytea NOT NULL, words text)"
                        ).format(table)
                    )
                    copy = sql.SQL("COPY {} FROM STDIN").format(table)
                    with cursor.copy(copy) as stream:
                        for row in fill():
                            stream.write_row(row)
                    if previous:
                        old = sql.Identifier(_table(self.source, previous))
                        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(old))
                cursor.execute(
                    "INSERT INTO perennial_profiles VALUES (%s, %s, %s, %s) ON CONFLICT (source) "
                    "DO UPDATE SET publication = excluded.publication, "
                    "previous = excluded.previous, facts = excluded.facts",
                    [self.source, key, now, json.dumps(facts)],
                )
        except self._driver.Error as error:
            raise _silent("PostgreSQL", error) from None

    def read(self, ids: Sequence[int]) -> Read:
        """One statement: its snapshot holds the name of the publication and its rows."""
        errors, local = self._driver.errors, self._local
        wanted = [customer for customer in ids if -(2**63) <= customer < 2**63]
        for _ in range(TRIES):
            try:
                key, facts, query = self._known()
                rows = local.connection.execute(query, [wanted, self.source]).fetchall()
            except errors.UndefinedTable:
                local.known = None
                continue
            except self._driver.Error as error:
                self.close()
                raise _silent("PostgreSQL", error) from None
            if rows and rows[0][0] == key:
                return key, facts, {row[1]: (row[2], row[3]) for row in rows if row[1] is not None}
            local.known = None
        raise DataError(f"profiles of {self.source!r} are replaced faster than they can be read")

    def close(self) -> None:
        """Close the calling thread's connection."""
        if hasattr(self._local, "connection"):
            self._local.connection.close()
            del self._local.connection, self._local.known

    def _known(self) -> Known:
        local, sql = self._local, self._driver.sql
        if not hasattr(local, "connection"):
            local.connection, local.known = self._driver.connect(self._url, autocommit=True), None
            local.connection.read_only = True
        if local.known is None:
            query = "SELECT publication, facts FROM perennial_profiles WHERE source = %s"
            try:
                row = local.connection.execute(query, [self.source]).fetchone()
            except self._driver.errors.UndefinedTable:
                row = None
            if row is None:
                raise nothing_published(self.source)
            lookup = sql.SQL(
                "SELECT p.publication, t.customer_id, t.numbers, t.words FROM perennial_profiles p "
                "LEFT JOIN {} t ON t.customer_id = ANY(%s::bigint[]) WHERE p.source = %s"
            ).format(sql.Identifier(_table(self.source, row[0])))
            local.known = (row[0], json.loads(row[1]), lookup)
        known: Known = local.known
        return known


def _table(source: str, key: str) -> str:
    return f"perennial_profiles_{fingerprint(source, key)}"


# --- Redis ----------------------------------------------------------------------------------


class RedisStore(Closing):
    """A hash per publication and a key that names the current one; the old hash expires."""

    def __init__(self, url: str, source: str) -> None:
        try:
            import redis
        except ImportError:
            raise ConfigError(
                "profiles on Redis need its client: pip install 'perennial[redis]'"
            ) from None
        self._client, self._error = redis.Redis.from_url(url), redis.RedisError
        self.source = source
        self._facts: dict[str, dict[str, Any]] = {}

    def publish(self, key: str, facts: dict[str, Any], fill: Fill) -> None:
        """Fill a new hash, then point at it; an unfinished one expires by itself."""
        client, profiles = self._client, self._name(key)
        try:
            now = client.get(self._name("current"))
            if now == key.encode():
                return
            # Another publisher of the same key writes the same values; the last one points.
            client.hset(profiles, "facts", json.dumps(facts))
            client.expire(profiles, REDIS_WRITE_SECONDS)
            with client.pipeline(transaction=False) as pipe:
                for number, (customer, numbers, words) in enumerate(fill(), start=1):
                    pipe.hset(profiles, str(customer), _joined(numbers, words))
                    if number % 1_000 == 0:
                        pipe.execute()
                pipe.execute()
            with client.pipeline(transaction=True) as pipe:
                pipe.persist(profiles)
                pipe.set(self._name("current"), key)
                if now is not None:
                    last = now.decode() if isinstance(now, bytes) else now
                    pipe.expire(self._name(last), REDIS_KEEP_SECONDS)
                pipe.execute()
        except self._error as error:
            raise _silent("Redis", error) from None

    def read(self, ids: Sequence[int]) -> Read:
        """Ask for the pointer and the profiles it named last, at once; follow it if it moved."""
        known = self._facts
        key = next(iter(known), "")
        for _ in range(TRIES):
            try:
                with self._client.pipeline(transaction=True) as pipe:
                    pipe.get(self._name("current"))
                    pipe.hmget(self._name(key), ["facts", *map(str, ids)])
                    now, (facts, *found) = pipe.execute()
            except self._error as error:
                raise _silent("Redis", error) from None
            if now is None:
                raise nothing_published(self.source)
            if now == key.encode() and facts is not None:
                if key not in known:
                    known = self._facts = {key: json.loads(facts)}
                rows = {i: _parted(value) for i, value in zip(ids, found, strict=True) if value}
                return key, known[key], rows
            key = now.decode()
        raise DataError(f"profiles of {self.source!r} are replaced faster than they can be read")

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _name(self, key: str) -> str:
        return f"perennial:profiles:{self.source}:{key}"


def _joined(numbers: bytes, words: str | None) -> bytes:
    return len(numbers).to_bytes(4, "little") + numbers + (words or "").encode()


def _parted(value: bytes) -> tuple[bytes, str | None]:
    end = 4 + int.from_bytes(value[:4], "little")
    return value[4:end], value[end:].decode() or None


def _silent(kind: str, error: Exception) -> DataError:
    return DataError(f"the profile store on {kind} does not answer ({type(error).__name__})")
