"""What the service benchmarks have in common: a model that is served, ours and its opponents.

One model of 500 trees, depth 6, 40 features. Ours is packaged, approved, and served by its own
door, with keys, validation and audit on. Servers are pinned to the first core, the load to the
second.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import serving_load as load
import serving_opponents as opponents
import xgboost

from features import columns as c
from features.compute import arrow_schema
from features.identity import customer_ids, customer_key
from features.online import default_url
from features.publishing import publish_profiles
from features.schema import FeatureColumn
from features.settings import Workspace
from serving import keys, package
from serving.packaged import packaged
from serving.serve import Server
from training import versions
from training.calibrate import Calibrator
from training.keys import add_reviewer, signing_key
from training.model_part import ModelPart
from training.models.gbm import Gbm, GbmConfig
from training.record import Record
from training.supervised import bundle as supervised
from training.supervised.bundle import Answer, Bundle
from training.versions import Approved

TREES, DEPTH, WIDTH, LEARNED = 500, 6, 40, 20_000
KEY = "key-of-the-benchmark"
BODIES = 32
"""Different bodies that requests take turns with."""
Commands = dict[str, tuple[list[str], int, dict[str, object]]]
"""Name -> command that starts a service, its port, and how it is asked."""
SERVER, LOAD = {0}, {os.cpu_count() - 1 if os.cpu_count() else 0}


@dataclass
class Service:
    """Something that answers, and how it is asked."""

    name: str
    port: int
    pid: int
    ready: float
    prefix: str = "set__column_"
    path: str = "/predict"
    wrap: Callable[[list[dict[str, float | None]]], object] = lambda rows: {"rows": rows}

    def sends(self, X: np.ndarray, rows: int, path: str = "") -> Callable[[], bytes]:
        """Requests of so many rows, one after the other."""
        made = []
        for k in range(BODIES):
            block = X[k * rows : (k + 1) * rows].tolist()
            told = [
                {f"{self.prefix}{j}": None if v != v else v for j, v in enumerate(row)}
                for row in block
            ]
            body = json.dumps(self.wrap(told)).encode()
            made.append(load.request(path or self.path, body, [f"X-API-Key: {KEY}"]))
        turns = iter(range(10**12))
        return lambda: made[next(turns) % BODIES]

    @property
    def at(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    @property
    def memory(self) -> float:
        """Resident MB of the process and its children."""
        return sum(p.memory_info().rss for p in self._family()) / 1e6

    @property
    def busy(self) -> float:
        """Seconds of processor that the process and its children have had."""
        return sum(sum(p.cpu_times()[:2]) for p in self._family())

    def _family(self) -> list[psutil.Process]:
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]


def learned(root: Path) -> tuple[Workspace, Path, np.ndarray]:
    """A packaged and approved model, its booster as a file, and rows like those it learned from."""
    place = Workspace(
        store=root / "store", registry=root / "registry", keys=root / "keys", data=None,
        configs=root,
    )  # fmt: skip
    rng = np.random.default_rng(1)
    X = rng.normal(size=(LEARNED, WIDTH))
    truth = X @ rng.normal(size=WIDTH) + 3 * (X[:, ::2] * X[:, 1::2]).sum(axis=1)
    X[rng.random(X.shape) < 0.1] = np.nan
    columns = tuple(
        FeatureColumn(name=f"set__column_{k}", unit="days", meaning=f"column {k}", missing="none")
        for k in range(WIDTH)
    )
    model = Gbm(GbmConfig(trees=TREES, max_depth=DEPTH, min_child_weight=1))
    model.fit(
        pd.DataFrame(X, columns=[c.name for c in columns]), (truth > 0) * 1.0, weight=None, seed=3
    )
    answer = Answer(
        task="churn", question="?", output="churn_probability", space="log-odds",
        model=ModelPart(use="gbm.Gbm", config=model.config.model_dump()), columns=columns,
        threshold=0.4, cutoff="2026-09-10", horizon_days=90, source="random", currency="GBP",
        run_key="benchmark",
    )  # fmt: skip
    made = Bundle(answer, model, Calibrator("platt", {"line": (1.1, -0.2)}))
    digest = supervised.write(made, X[:60], root / "bundle", signing_key(place.keys))
    granted = Approved("churn", 1, digest, root / "bundle", "Ann", "2026-01-02T03:04:05+00:00")
    add_reviewer(place.keys, "Ann")
    Record(place).append("approved", "churn", 1, digest, "Ann", "benchmark")
    with (
        patch.object(versions, "approved", lambda *_: granted),
        patch.object(package, "_posted", lambda *_: None),
        patch.object(package, "misplaced", lambda *_: []),  # the model is not in MLflow
    ):
        package.package(place, "churn")
    publish(place, columns, X[:2_000])
    return place, root / "bundle" / "model.ubj", X


def publish(place: Workspace, columns: tuple[FeatureColumn, ...], X: np.ndarray) -> None:
    """Profiles of the customers ``c0``, ``c1``, ..., in SQLite."""
    moment = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    ids = customer_ids("random", {f"c{k}" for k in range(len(X))}, customer_key(place.keys))
    names = [column.name for column in columns]
    rows = [
        {c.CUSTOMER: ids[f"c{k}"], c.CUTOFF: moment}
        | {n: None if v != v else v for n, v in zip(names, row, strict=True)}
        for k, row in enumerate(X.tolist())
    ]
    folder = place.store / "features"
    folder.mkdir(parents=True)
    ordered = sorted(rows, key=lambda row: row[c.CUSTOMER])
    table = pa.Table.from_pylist(ordered, schema=arrow_schema(columns))
    pq.write_table(table, folder / f"features-{moment:%Y-%m-%dT%H%M%S}.parquet")
    (folder / "schema.json").write_text(json.dumps([k.model_dump() for k in columns]))
    (folder / "manifest.json").write_text(json.dumps({"content": "benchmark"}))

    class Random:
        name, time_zone = "random", "UTC"

    publish_profiles(default_url(place), folder, Random(), lambda: moment)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def weighed(pid: int) -> None:
    """Weigh a service's session like this one: Linux shares time among sessions, then by nice."""
    own = Path("/proc/self/autogroup")
    if own.exists():
        Path(f"/proc/{pid}/autogroup").write_text(own.read_text().split()[-1])


@contextmanager
def ours(place: Workspace) -> Iterator[tuple[Service, Server]]:
    """Our service behind a key."""
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    (place.keys / keys.FILE).write_text(hashed)
    os.sched_setaffinity(0, SERVER)
    server = Server(place, packaged(place, "churn"), log_share=1.0)
    try:
        weighed(server.process.pid)
        ready = server.wait_ready()
        os.sched_setaffinity(0, LOAD)
        yield Service("ours", server.port, server.process.pid, ready), server
    finally:
        server.stop()


@contextmanager
def opponent(name: str, command: list[str], port: int, **asked: object) -> Iterator[Service]:
    """Another service, once it listens."""
    begun = time.monotonic()
    os.sched_setaffinity(0, SERVER)
    home = Path(tempfile.gettempdir()) / f"opponents-{os.getpid()}"
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    weighed(process.pid)
    os.sched_setaffinity(0, LOAD)
    try:
        while time.monotonic() - begun < 120:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with code {process.returncode}")
            time.sleep(0.2)
        else:
            raise RuntimeError(f"{name} does not listen")
        ready = time.monotonic() - begun
        for one in (process, *psutil.Process(process.pid).children(recursive=True)):
            weighed(one.pid)
        yield Service(name, port, process.pid, ready, **asked)
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        for one in (process, *family):
            one.kill()
        process.wait(20)
        shutil.rmtree(home, ignore_errors=True)


def commands(root: Path, model: Path) -> Commands:
    """Name -> how each opponent is started and asked."""
    script, python = str(Path(opponents.__file__)), sys.executable
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    ports = {name: free_port() for name in ("fastapi", "bare", "bentoml", "mlflow")}
    plain = root / "plain"
    plain.mkdir()
    (plain / "plain.py").write_text(opponents.PLAIN.format(model=str(model)))
    import mlflow.xgboost

    mlflow.xgboost.save_model(xgboost.Booster(model_file=str(model)), str(root / "mlflow"))
    run = [script, "fastapi", str(ports["fastapi"]), str(model), str(WIDTH), hashed]
    return {
        "fastapi": ([python, *run], ports["fastapi"], {"prefix": "c"}),
        "bare": (
            [python, script, "bare", str(ports["bare"]), str(model), str(WIDTH)],
            ports["bare"], {"prefix": "c"},
        ),
        "bentoml": (
            [python, "-m", "bentoml", "serve", "plain:Plain", "--working-dir", str(plain),
             "--port", str(ports["bentoml"])], ports["bentoml"], {"prefix": "c"},
        ),
        "mlflow": (
            [python, "-m", "mlflow", "models", "serve", "-m", str(root / "mlflow"),
             "--env-manager", "local", "--port", str(ports["mlflow"])], ports["mlflow"],
            {"prefix": "c", "path": "/invocations", "wrap": lambda rows: {
                "inputs": [[np.nan if v is None else v for v in row.values()] for row in rows]}},
        ),
    }  # fmt: skip
