"""The main job, end to end: raw file to HTTP answer, by the commands a user would type."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import httpx
import numpy as np
import pandas as pd

from features.engine import available_threads
from features.errors import ConfigError, DataError, PerennialError
from features.progress import Progress
from features.settings import Workspace
from serving import replay
from serving.serve import running
from training import bundle as bundles
from training.bundle import Loaded
from training.keys import verifying_key
from training.pipeline import AnyPlan, load_plan
from training.record import Record, champion

log = logging.getLogger("perennial")

REVIEWER = "demo reviewer"
REASONS = 3
ASKED = 20
STEPS = (
    ("train", 75.0),
    ("review", 4.0),
    ("approve", 5.0),
    ("package", 15.0),
    ("score", 5.0),
    ("serve", 8.0),
    ("ask", 5.0),
)


@dataclass(frozen=True)
class Example:
    """A request to try."""

    path: str
    body: Path
    """File with the body."""


@dataclass(frozen=True)
class Made:
    """What the demo left behind for one pipeline."""

    model: str
    version: int
    report: str
    bento: str
    answers: Path
    """The answers for everyone."""
    example: Example


def demo(
    place: Workspace, pipelines: Sequence[str], source: str, assignments: Sequence[str] = ()
) -> list[Made]:
    """Run every pipeline on ``source`` from raw files to answers over HTTP; stop what was started.

    As many at once as there are threads to work with; one whose answers are held against another's
    champion waits for it.

    Raises
    ------
    ConfigError
        If a pipeline or source does not exist, or a real source has no data folder.
    DataError
        If the service's answers differ from the golden ones.
    """
    if source == "simulated":
        log.info(
            "source: the simulated retailer, invented customers "
            "(SOURCE=online_retail_II and PERENNIAL_DATA_DIR take the real file)"
        )
    elif place.data is None:
        raise ConfigError(
            f"source {source!r} needs its raw files: set PERENNIAL_DATA_DIR to their folder"
        )
    configs = [place.configs / f"{name}.yaml" for name in pipelines]
    missing = [str(path) for path in configs if not path.is_file()]
    if missing:
        known = sorted(path.stem for path in place.configs.glob("*.yaml"))
        raise ConfigError(f"no pipeline {', '.join(missing)}; PIPELINES can be: {known}")
    said = [f"data={source}", *assignments]
    plans = [load_plan(place, path, said) for path in configs]
    settings = [word for text in said for word in ("--set", text)]
    log.info("profiles of everyone, so that services can be asked by customer")
    _door(place, "features", "publish", *map(str, configs), *settings)
    _door(place, "training", "reviewer", REVIEWER)
    lanes, names = min(available_threads(), len(plans)), {plan.config.name for plan in plans}
    begun: dict[str, Future[Made]] = {}

    def one(plan: AnyPlan) -> Made:
        if plan.held_against in begun:
            begun[plan.held_against].result()
        threading.current_thread().name = plan.path.stem
        return _one(place, plan.path, settings)

    with ThreadPoolExecutor(lanes) as pool, _told_apart(lanes > 1):
        # Who is waited for comes first: nobody waits for what has not begun.
        for plan in sorted(plans, key=lambda plan: plan.held_against in names):
            begun[plan.config.name] = pool.submit(one, plan)
        try:
            return [begun[plan.config.name].result() for plan in plans]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _told_apart(several: bool) -> Iterator[None]:
    """Lines of several pipelines at once begin with the name of theirs."""
    handlers = logging.getLogger().handlers if several else []
    before = [handler.formatter for handler in handlers]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(threadName)-9s | %(message)s"))
    try:
        yield
    finally:
        for handler, formatter in zip(handlers, before, strict=True):
            handler.setFormatter(formatter)


def _one(place: Workspace, config: Path, settings: Sequence[str]) -> Made:
    progress = Progress(f"demo of {config.stem}", STEPS)
    with progress.stage("train"):
        done = json.loads(_door(place, "training", "run", str(config), *settings, "--json"))
    model, version = done["model"], done["version"]
    with progress.stage("review"):
        _said(_door(place, "training", "review", model, "--version", str(version)))
    with progress.stage("approve"):
        standing = champion(Record(place).entries(model))
        if standing is not None and standing.version == version:
            progress.reused(f"approval of version {version}")
        else:
            reason = "the demo approves what its gates allow"
            _door(
                place,
                "training",
                "approve",
                model,
                "--version",
                str(version),
                "--reviewer",
                REVIEWER,
                "--reason",
                reason,
            )
    with progress.stage("package"):
        packaged = json.loads(_door(place, "serving", "package", model, "--json"))
    with progress.stage("score"):
        answers = place.store / f"{model}.csv"
        told = ("--out", str(answers), "--reasons", str(REASONS))
        _said(_door(place, "serving", "score", model, *told))
    with ExitStack() as started:
        with progress.stage("serve"):
            address = started.enter_context(running(place, packaged["bento"]))
        with progress.stage("ask"):
            bundle = bundles.load(Path(packaged["bundle"]), verifying_key(place.keys))
            example = _ask(place, address, bundle, model, version, packaged["bento"])
            _ask_by_customer(address, bundle, answers)
    return Made(model, version, done["report"], packaged["bento"], answers, example)


def _door(place: Workspace, package: str, *words: str) -> str:
    """Run one command of a door; its progress goes to the terminal, its output comes back."""
    log.info("$ python -m %s %s", package, " ".join(words))
    command = [
        sys.executable,
        "-m",
        package,
        *words,
        "--store",
        str(place.store),
        *(() if package == "features" else ("--registry", str(place.registry))),
    ]
    environment = os.environ | ({"PERENNIAL_DATA_DIR": str(place.data)} if place.data else {})
    with TemporaryFile("w+") as printed:
        child = subprocess.Popen(
            command, stdout=printed, stderr=subprocess.PIPE, text=True, env=environment
        )
        with child:
            for line in child.stderr or ():
                log.info("%s", line.rstrip("\n"))
        if child.returncode != 0:
            raise PerennialError(
                f"python -m {package} {words[0]} ended with code {child.returncode}; see above"
            )
        printed.seek(0)
        return printed.read()


def _said(text: str) -> None:
    for line in text.splitlines():
        log.info("%s", line)


def _ask(
    place: Workspace, address: str, bundle: Loaded, model: str, version: int, bento: str
) -> Example:
    """Ask every golden request over real HTTP, record the check, and show one answer."""
    largest = replay.through_service(bundle, address)
    evidence = {"largest_difference": largest, "bento": bento}
    Record(place).append(
        "checked", model, version, bundle.digest, "demo", "golden rows over real HTTP", evidence
    )
    log.info("      golden requests over HTTP: largest difference %.3g", largest)
    shown = bundle.shown()
    reply = httpx.post(f"{address}{shown.path}", json=shown.body, timeout=60, trust_env=False)
    for line in shown.say(reply.json()):
        log.info("      %s", line)
    example = Example(shown.path, place.store / f"{model}.example.json")
    example.body.write_text(json.dumps(shown.body))
    return example


def _ask_by_customer(address: str, bundle: Loaded, answers: Path) -> None:
    """Ask for the first customers of the scored file by id: the same answers have to come.

    Raises
    ------
    DataError
        If they differ.
    """
    if not bundle.answer.columns:
        return  # asked by history, not by row
    scored = pd.read_csv(answers, dtype={"source_id": str}, nrows=ASKED)
    body = {"customers": scored["source_id"].to_list()}
    reply = httpx.post(f"{address}/predict", json=body, timeout=60, trust_env=False).json()
    told = numbers(bundle, reply["predictions"])
    found = told.to_numpy()
    largest = float(np.abs(found - scored[told.columns].to_numpy(float)).max())
    if not largest <= bundles.TOLERANCE * max(1.0, float(np.abs(found).max())):
        raise DataError(f"asked by id, customers get other answers than in {answers}: {largest:g}")
    log.info("      %d customers by id: largest difference %.3g", len(scored), largest)


def numbers(bundle: Loaded, predictions: list[dict[str, Any]]) -> pd.DataFrame:
    """Numbers of a reply under the names they have in a file: what is nested there is joined."""
    names = [name for name, kind in bundle.outputs if kind != "string"]
    return pd.json_normalize(predictions, sep="_")[names].astype(float)


def summary(made: Sequence[Made]) -> list[str]:
    """What was made, and where to look next."""
    lines = ["", "Made:"]
    for one in made:
        lines += [
            f"  {one.model} version {one.version}, champion, packaged as Bento {one.bento}",
            f"    report: {one.report}",
            f"    everyone, with reasons: {one.answers}",
            f"    serve it: python -m serving serve {one.model} --port 3000",
            f"    ask it: curl -s http://127.0.0.1:3000{one.example.path} "
            f"-H 'content-type: application/json' -d @{one.example.body}",
        ]
    return [*lines, "  MLflow: make ui, then open http://127.0.0.1:5000/#/models"]
