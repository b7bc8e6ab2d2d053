"""An approved version becomes a Bento: verified, replayed, released, built and noted."""

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from features.errors import ConfigError, DataError
from features.settings import Workspace, code_fingerprint, fingerprint
from features.store import scratch
from serving import base, bento, histories, release, replay, sbom
from serving.guard import Guard, Limits
from serving.release import Posted, Release
from training import bundle, tracker, versions
from training.bundle import TOLERANCE, Loaded
from training.keys import PRIVATE_KEY, signing_key, verifying_key
from training.mirror import mirror, misplaced
from training.pipeline import load_plan
from training.record import Record
from training.versions import Approved

log = logging.getLogger("perennial")

REQUIREMENTS = (
    "bentoml", "cryptography", "duckdb", "fastapi", "ibis-framework", "jinja2", "numba", "numpy",
    "orjson", "packaging", "pandas", "prometheus-client", "pyarrow", "pydantic", "pyjwt", "pyyaml",
    "scipy", "sqlglot", "xgboost-cpu", "xgboost",
)  # fmt: skip
"""Distributions of the image, which brings what they need too; XGBoost in the installed build."""


@dataclass(frozen=True)
class Packaged:
    """A Bento and the bundle that it pins."""

    bento: str
    """Exact tag."""
    bundle: Path
    """The bundle's files in BentoML's store."""
    fresh: bool
    """Whether it was built just now."""


def package(
    place: Workspace, model: str, number: int | None = None, *, dry_run: bool = False
) -> Packaged:
    """Package an approved version; what is already there and whole is not made again.

    Parameters
    ----------
    model
        Registered name.
    number
        Version; None = the champion.
    dry_run
        Say what would be done and write nothing.

    Raises
    ------
    NotApproved
        If no reviewer approved the version.
    DataError
        If the bundle is not what was approved, or answers otherwise than when it was trained; if
        MLflow's aliases were moved around the commands that decide.
    """
    granted = versions.approved(place, model, number)
    _refuse_moved(place, model, repair=not dry_run)
    loaded = _verified(place, granted)
    statement = Release(
        model=granted.model,
        version=granted.version,
        digest=granted.digest,
        reviewer=granted.reviewer,
        approved_at=granted.approved_at,
        posted=_posted(place, granted, loaded),
    )
    order = _order(place, loaded, statement)
    stored = bento.folder(order.home, "models", order.model)
    files = stored / release.BUNDLE
    order.keep_model = _whole(stored, statement, place)
    if order.keep_model and _noted(place, order) and bento.built(order.home, order.bento):
        log.info("      already packaged as %s: same version, same code", order.bento)
        return Packaged(order.bento, files, fresh=False)
    if dry_run:
        log.info(
            "      would replay golden rows, build %s in %s and note it", order.bento, order.home
        )
        return Packaged(order.bento, files, fresh=False)
    _replay_in_process(loaded)
    with scratch(place.store / "packaging") as work:
        order.release = work / "release"
        release.write(statement, granted.folder, order.release, signing_key(place.keys))
        checked, released = release.load(order.release, place.keys)
        patient = Limits(seconds=replay.SECONDS)  # this machine may be busy, nobody waits
        app = Guard(base.make_app(checked, released), base.RULES, limits=patient)
        difference = replay.through_app(checked, app)
        log.info("      golden requests over HTTP: largest difference %.1e", difference)
        _build(order, work / "context")
    release.verify(stored, place.keys)
    Record(place).append(
        "checked", model, granted.version, granted.digest,
        actor="package", reason="golden rows over HTTP",
        evidence={"largest_difference": difference, **order.noted},
    )  # fmt: skip
    log.info("      packaged as %s", order.bento)
    return Packaged(order.bento, files, fresh=True)


def _refuse_moved(place: Workspace, model: str, *, repair: bool) -> None:
    """Somebody who moves an alias wants another version served: that is for a reviewer to say."""
    moved = misplaced(place, model)
    if moved and repair:
        mirror(place, model)
    if moved:
        raise DataError.listing(
            f"model {model!r}: aliases in MLflow were changed around the record of decisions"
            f"{', and were put back' if repair else ''}; decide by `python -m training approve` or "
            "`rollback`, then package again",
            moved,
        )


def _verified(place: Workspace, granted: Approved) -> Loaded:
    """The approved bundle, loaded after signature and digest were compared."""
    if not (place.keys / PRIVATE_KEY).is_file():
        raise ConfigError(
            f"{place.keys}: packaging signs the release, and {PRIVATE_KEY} is not there; "
            "set PERENNIAL_KEYS_DIR to the folder with the keys that the bundle was signed with"
        )
    public = verifying_key(place.keys)
    _, digest = bundle.read_verified(granted.folder, public)
    if digest != granted.digest:
        raise DataError(
            f"{granted.folder}: version {granted.version} was approved as {granted.digest[:12]}, "
            f"the bundle there is {digest[:12]}: restore it, or train and review again"
        )
    log.info(
        "      %s version %d (%s): approved by %s, signature fits",
        granted.model, granted.version, digest[:12], granted.reviewer,
    )  # fmt: skip
    return bundle.load(granted.folder, public)


def _posted(place: Workspace, granted: Approved, loaded: Loaded) -> Posted | None:
    """What posted histories take, by the version's review pack; why there are none is logged."""
    columns = loaded.answer.columns
    if not columns:
        return None
    pack = tracker.review_folder(place, granted.model, granted.version)
    plan = load_plan(place, pack / "config.resolved.yaml")
    tables = json.loads((pack / "data.json").read_text())["tables"]["tables"]
    posted = Posted(
        features=tuple(part.model_dump(mode="json") for part in plan.config.features),
        schemas={
            name: {column.name: column.dtype for column in plan.source.table_schema(name).columns}
            for name in tables
        },
        began={name: told["first"] for name, told in tables.items()},
        time_zone=plan.source.time_zone,
    )
    try:
        histories.check(posted, columns)
    except ConfigError as error:
        log.info("      histories cannot be answered, rows and customers can: %s", error)
        return None
    return posted


def _order(place: Workspace, loaded: Loaded, statement: Release) -> bento.Order:
    """What to build: tags follow from the statement, the code and the image's distributions."""
    service, made_of = _service(loaded), sbom.components(REQUIREMENTS)
    name = f"{statement.model}:v{statement.version}"
    # BentoML adds itself.
    pins = [f"{part.name}=={part.version}" for part in made_of if part.name != "bentoml"]
    code = code_fingerprint(*bento.SOURCES)
    return bento.Order(
        home=bento.home(place),
        service=service,
        model=f"{name}-{fingerprint(statement)}",
        bento=f"{name}-{fingerprint(statement, service, pins, code)}",
        description=f"{loaded.answer.question} {statement.model} version {statement.version}.",
        requirements=pins,
    )


def _whole(stored: Path, statement: Release, place: Workspace) -> bool:
    """Whether the stored model is what is to be released, as it was signed."""
    try:
        return release.verify(stored, place.keys) == statement
    except DataError:
        return False


def _noted(place: Workspace, order: bento.Order) -> bool:
    """Whether the record says that this Bento was checked: a killed run leaves no note."""
    entries = Record(place).entries(order.bento.partition(":")[0])
    return any(e.event == "checked" and e.evidence.get("bento") == order.bento for e in entries)


def _service(loaded: Loaded) -> str:
    """The service for the bundle's question: ``Churn`` of ``serving/churn.py`` answers churn.

    A question without a service of its own goes to the generic one.
    """
    task = loaded.answer.task
    found, name = find_spec(f"serving.{task}"), task.title().replace("_", "")
    text = Path(found.origin).read_text() if found is not None and found.origin else ""
    own = "import bentoml" in text and f"class {name}:" in text
    return f"serving.{task}:{name}" if own else "serving.generic:Generic"


def _replay_in_process(loaded: Loaded) -> None:
    difference = loaded.replay()
    if not difference <= TOLERANCE:
        raise DataError(
            f"golden rows are answered differently here than at training time: largest difference "
            f"{difference:.1e}, allowed {TOLERANCE:.0e}; nothing was packaged. Use the locked "
            "versions of the dependencies, or train and review again"
        )
    log.info("      golden rows in process: largest difference %.1e", difference)


def _build(order: bento.Order, context: Path) -> None:
    """Copy the sources, list what they need, and build there, in a process of its own.

    Nothing of it takes the network.
    """
    for name in bento.SOURCES:
        found = find_spec(name)
        assert found is not None
        assert found.submodule_search_locations
        root = Path(found.submodule_search_locations[0])
        for path in sorted((*root.rglob("*.py"), *root.rglob("*.html"))):
            target = context / name / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    name, _, number = order.bento.partition(":")
    sbom.write(sbom.components(REQUIREMENTS), name, number, context / "serving")
    done = subprocess.run(
        [sys.executable, "-m", "serving.bento"],
        input=order.model_dump_json().encode(),
        cwd=context,
        env=bento.environment(order.home),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-15:]
        raise DataError.listing(f"{order.bento}: the Bento could not be built", last)
