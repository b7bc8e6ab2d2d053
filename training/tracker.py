"""MLflow of a workspace: its client, and where experiments, versions and their folders are."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from features.errors import DataError
from features.settings import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHALLENGER = "challenger"
"""Alias of the version that waits for its review."""


def tracking_uri(place: Workspace) -> str:
    """``PERENNIAL_TRACKING_URI``, or a SQLite file in the registry.

    ``MLFLOW_TRACKING_URI`` is not read: ``mlflow run`` sets it to its own default for its children,
    and runs would end up beside the registry.
    """
    return os.environ.get("PERENNIAL_TRACKING_URI") or f"sqlite:///{place.registry / 'mlflow.db'}"


def client(place: Workspace) -> "MlflowClient":
    """MLflow, pointed at this registry and quiet."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.pop("MLFLOW_RUN_ID", None)  # set by `mlflow run`; it would swallow our run
    place.registry.mkdir(parents=True, exist_ok=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(place))
    mlflow.set_registry_uri(tracking_uri(place))
    return mlflow.MlflowClient()


def registered_as(api: "MlflowClient", name: str, pack_key: str) -> int | None:
    """The version that has this review pack, if there is one."""
    versions = api.search_model_versions(f"name = '{name}' and tags.pack_key = '{pack_key}'")
    return max((int(v.version) for v in versions), default=None)


def experiment_of(api: "MlflowClient", place: Workspace, name: str) -> str:
    """The experiment that runs of a model belong to; made if it is not there."""
    title = f"perennial/{name}"
    known = api.get_experiment_by_name(title)
    if known is not None:
        return str(known.experiment_id)
    if tracking_uri(place).startswith("http"):
        return str(api.create_experiment(title))  # the server keeps artifacts
    location = place.registry / "artifacts"
    return str(api.create_experiment(title, artifact_location=location.as_uri()))


def bundle_folder(place: Workspace, name: str, version: int) -> Path:
    """Folder of a registered version's bundle.

    Raises
    ------
    DataError
        If the version or its files are gone.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    api = client(place)
    try:
        source = str(api.get_model_version(name, str(version)).source)
        if source.startswith("models:/m-"):
            source = api.get_logged_model(source.removeprefix("models:/")).artifact_location
        root = _local(source)
        return root / str(Model.load(str(root)).flavors["python_function"]["data"])
    except (MlflowException, OSError) as error:
        raise DataError(
            f"model {name!r} version {version}: its files cannot be read ({error}); "
            "restore the registry folder from its backup"
        ) from None


def review_folder(place: Workspace, name: str, version: int) -> Path:
    """Folder of a registered version's review pack, among its run's artifacts.

    Raises
    ------
    DataError
        If the artifacts are gone.
    """
    from mlflow.exceptions import MlflowException

    api = client(place)
    try:
        run_id = str(api.get_model_version(name, str(version)).run_id)
        folder = _local(f"{api.get_run(run_id).info.artifact_uri}/review")
        if not (folder / "gates.json").is_file():
            raise OSError(f"{folder} has no gates.json")
    except (MlflowException, OSError) as error:
        raise DataError(
            f"model {name!r} version {version}: its review pack cannot be read ({error}); "
            "restore the registry folder from its backup; nothing was decided"
        ) from None
    return folder


def _local(uri: str) -> Path:
    """The artifact's own folder where it is on this machine, else a copy."""
    from mlflow.artifacts import download_artifacts

    if uri.startswith("file:"):
        return Path(url2pathname(urlsplit(uri).path))
    return Path(uri if uri.startswith("/") else download_artifacts(uri))
