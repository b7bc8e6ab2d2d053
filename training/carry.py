"""Versions from one registry to another, over machines that cannot reach each other.

An export is a zip of the bundle, the review pack, what MLflow knows of the run, and the version's
entries of the record; a statement that lists each file's SHA-256 is signed by the place that wrote
it. Whoever imports it has to trust that place's key. Nothing is approved by a file: the version
arrives as challenger, and what was decided about it elsewhere is told to those who decide here.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature

from features.errors import ConfigError, DataError
from features.settings import Workspace
from features.store import scratch, write_synced
from training import bundle as bundles
from training.keys import PLACES, PUBLIC_KEY, place_keys, signing_key, trusted_key
from training.mirror import mirror
from training.notify import tell
from training.record import DECISIONS, Entry, Record, signed_by
from training.track import log_model, log_pack
from training.tracker import CHALLENGER, client, experiment_of, registered_as, review_folder
from training.versions import bundle_at, registered_entry, verified_folder

STATEMENT, SIGNATURE = "export.json", "export.sig"
BUNDLE = "bundle/"
FORMAT = 1
MAX_BYTES = 4 << 30


def export(place: Workspace, model: str, version: int, out: Path) -> None:
    """Write a registered version to one file.

    Raises
    ------
    ConfigError
        If there is no such version, or the file is there already.
    DataError
        If its files are not what was recorded.
    """
    entries = Record(place).entries(model)
    entry = registered_entry(place, model, version)
    if out.exists():
        raise ConfigError(f"{out}: there already; name another file or remove it")
    folders = {BUNDLE: verified_folder(place, entry), "": review_folder(place, model, version)}
    files = {
        f"{stem}{path.relative_to(folder)}": path.read_bytes()
        for stem, folder in folders.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    api = client(place)
    registered = api.get_model_version(model, str(version))
    run = api.get_run(str(registered.run_id))
    statement = json.dumps({
        "format": FORMAT,
        "entries": [vars(e) for e in entries if e.version == version],
        "version": {"tags": dict(registered.tags), "description": registered.description},
        "run": {
            "id": run.info.run_id, "name": run.info.run_name,
            "params": run.data.params, "metrics": run.data.metrics,
            "tags": {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
        },
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }, indent=1).encode()  # fmt: skip
    signature = signing_key(place.keys).sign(statement)
    with scratch(place.store / "exports") as work:
        made = work / "export.zip"
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {STATEMENT: statement, SIGNATURE: signature, **files}.items():
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        write_synced(out, made.read_bytes())


def import_(place: Workspace, file: Path) -> Entry:
    """Register what another place exported; its ``registered`` entry here.

    What was imported before is recognised, also where the import was killed on the way.

    Raises
    ------
    DataError
        If the file is no export, was changed, or comes from a place that is not trusted here.
    """
    told, files, origin = _read(place, file)
    then, *later = (Entry(**values) for values in told["entries"])
    decisions = [_decision(place, entry) for entry in later if entry.event in DECISIONS]
    evidence = then.evidence | {
        "imported": {"from": origin, "version": then.version, "entry": then.hash},
        "decided there": decisions,
    }
    api, name = client(place), then.model
    pack_key = then.evidence["pack_key"]
    version = registered_as(api, name, pack_key)
    record = Record(place)
    known = [e for e in record.entries(name) if e.event == "registered" and e.version == version]
    if known:
        return known[0]
    with scratch(place.store / "exports") as work:
        for path, data in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(data)
        # Who vouches for the bundle here is this place, from now on; what it says is unchanged.
        manifest = files[f"{BUNDLE}{bundles.MANIFEST}"]
        signature = signing_key(place.keys).sign(manifest)
        (work / BUNDLE / bundles.SIGNATURE).write_bytes(signature)
        digest = bundle_at(place, work / BUNDLE).digest
        if digest != then.digest:
            raise DataError(
                f"{file}: bundle {digest[:16]}, its record says {then.digest[:16]}; export it again"
            )
        if version is None:
            version = _logged(place, name, told, work)
    api.set_registered_model_alias(name, CHALLENGER, str(version))
    reason = "; ".join([f"imported from {origin}, version {then.version} there", *decisions])
    entry = record.append(
        "registered", name, version, then.digest, "import", reason, evidence=evidence
    )
    tell(entry)
    mirror(place, name)
    return entry


def _logged(place: Workspace, name: str, told: Mapping[str, Any], work: Path) -> int:
    """The run and its version in MLflow."""
    import mlflow
    from mlflow.entities import Metric, Param

    api, run = client(place), told["run"]
    made = api.create_run(experiment_of(api, place, name), tags=run["tags"], run_name=run["name"])
    run_id = made.info.run_id
    api.log_batch(
        run_id,
        metrics=[Metric(k, v, 0, 0) for k, v in run["metrics"].items()],
        params=[Param(k, v) for k, v in run["params"].items()],
    )
    log_pack(api, run_id, work)
    model = log_model(place, run_id, work, name)
    api.set_terminated(run_id, "FINISHED")
    tags = told["version"]["tags"] | {"review": "pending"}
    created = mlflow.register_model(model.model_uri, name, tags=tags)
    description = str(told["version"]["description"]).replace(run["id"], run_id)  # its pictures
    api.update_model_version(name, created.version, description=description)
    return int(created.version)


def _read(place: Workspace, file: Path) -> tuple[dict[str, Any], dict[str, bytes], str]:
    """What an export says, its files, and the name of the place that signed it."""
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                raise DataError(f"{file}: more than {MAX_BYTES} bytes; not an export of a version")
            files = {name: archive.read(name) for name in archive.namelist()}
        statement, signature = files.pop(STATEMENT), files.pop(SIGNATURE)
    except (OSError, zipfile.BadZipFile, KeyError, RuntimeError) as error:
        raise DataError(f"{file}: not an export ({error}); write it with `export`") from None
    origin = _signer(place, file, statement, signature)
    told = json.loads(statement)
    if told["format"] != FORMAT:
        raise DataError(f"{file}: export format {told['format']}, this code reads {FORMAT}")
    listed = told["files"]
    problems = [f"{name}: not in the statement" for name in sorted({*files} - {*listed})]
    problems += [
        f"{name}: missing or changed since it was exported"
        for name, digest in listed.items()
        if name not in files or hashlib.sha256(files[name]).hexdigest() != digest
    ]
    if problems:
        raise DataError.listing(f"{file}: not what was exported; nothing was imported", problems)
    odd = [name for name in files if ".." in Path(name).parts or Path(name).is_absolute()]
    if odd or {*told["entries"][0]} != {field.name for field in fields(Entry)}:
        raise DataError(f"{file}: not as `export` writes it; nothing was imported")
    return told, files, origin


def _signer(place: Workspace, file: Path, statement: bytes, signature: bytes) -> str:
    for name, key in place_keys(place.keys).items():
        try:
            key.verify(signature, statement)
        except InvalidSignature:
            continue
        return name
    raise DataError(
        f"{file}: changed, or signed by a place that is not trusted here; if you trust it, copy "
        f"its {PUBLIC_KEY} to {place.keys / PLACES}/NAME.pub and import again"
    )


def _decision(place: Workspace, entry: Entry) -> str:
    """What was decided elsewhere, and whether that person's key is known here.

    Raises
    ------
    DataError
        If it is known and did not sign this.
    """
    said = f"{entry.event} there by {entry.actor}: {entry.reason}"
    try:
        key = trusted_key(place.keys, entry.actor)
    except DataError:
        return f"{said} (not verified: that person's key is not here)"
    if not signed_by(entry, key):
        raise DataError(f"{said}: not signed by that person; nothing was imported")
    return f"{said} (signature verified)"
