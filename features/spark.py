"""The same expressions on Spark: a local session for tests, a cluster by its master's URL."""

import os
import warnings
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

import ibis.expr.types as ir

from features.errors import ConfigError

if TYPE_CHECKING:
    from ibis.backends.pyspark import Backend
    from pyspark.sql import SparkSession

MASTER = "PERENNIAL_SPARK_MASTER"
LOCAL = "local[2]"


def connect_spark() -> "Backend":
    """A Spark backend for expressions; see :func:`session`."""
    import ibis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ibis.pyspark.connect(session())


def session() -> "SparkSession":
    """The session on ``PERENNIAL_SPARK_MASTER``, by default two local threads.

    A session that runs already is used as it is, so on a cluster its own settings hold; to link
    records there, they have to name Splink's jar of similarities.

    Raises
    ------
    ConfigError
        If pyspark or Java is missing.
    """
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError:
        raise ConfigError(
            "engine: spark needs pyspark; `make spark` installs it, or use engine: duckdb"
        ) from None
    from splink.backends.spark import similarity_jar_location

    master = os.environ.get(MASTER) or LOCAL
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",  # overflow is an error, not another number
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.jars": similarity_jar_location(),
    }
    if master.startswith("local"):
        settings |= {
            "spark.sql.shuffle.partitions": "4",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            # It is made at the start, though no table is ever kept; not in the folder of the call.
            "spark.sql.warehouse.dir": str(Path(gettempdir()) / "perennial-spark"),
        }
    builder = SparkSession.builder.master(master).appName("perennial")
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        found = builder.getOrCreate()
    except Exception as error:  # py4j and pyspark raise classes of their own for a missing Java
        raise ConfigError(
            f"Spark did not start on {master} ({type(error).__name__}): it needs Java 17 or later "
            f"on the PATH, and {MASTER} to name a master that answers"
        ) from None
    found.sparkContext.setLogLevel("ERROR")
    return found


def keep_on_spark(backend: "Backend", name: str, expression: ir.Table) -> ir.Table:
    """Compute ``expression`` once into the cached temporary view ``name``."""
    _forget(backend, name)
    table = backend.create_view(name, expression, overwrite=True)
    backend._session.catalog.cacheTable(name)
    return table


def make_on_spark(backend: "Backend", name: str, statement: str) -> None:
    """Run ``statement`` once into the cached temporary view ``name``."""
    _forget(backend, name)
    backend._session.sql(statement).createOrReplaceTempView(name)
    backend._session.catalog.cacheTable(name)


def _forget(backend: "Backend", name: str) -> None:
    catalog = backend._session.catalog
    if catalog.tableExists(name):
        catalog.uncacheTable(name)
