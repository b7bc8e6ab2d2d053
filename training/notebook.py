"""What a notebook needs: run a pipeline, load an approved answer, compare versions."""

import logging
from pathlib import Path

from features.settings import Workspace
from training import experiments
from training.bundle import Loaded
from training.experiments import Comparison, Version
from training.pipeline import load_plan
from training.runs import run as run_pipeline
from training.versions import approved, bundle_at


def run(config: str | Path, *settings: str, place: Workspace | None = None) -> Version:
    """Run a pipeline up to a registered version, as ``python -m training run``.

    Parameters
    ----------
    config
        Pipeline YAML, such as ``configs/churn.yaml``; its folder holds ``data/<source>.yaml``.
    settings
        Overrides, such as ``"task.config.horizon_days=60"``.
    place
        Where things live; by default as the commands find it.

    Raises
    ------
    ConfigError, DataError
        As the command.
    """
    path = Path(config)
    here = place or Workspace.locate(configs=path.parent)
    logging.getLogger("perennial").setLevel(logging.INFO)
    plan = load_plan(here, path, settings)
    done = run_pipeline(here, plan)
    return experiments.version(here, f"{plan.config.name}:{done.version}")


def load(model: str, version: int | None = None, *, place: Workspace | None = None) -> Loaded:
    """The champion of ``model``, or an approved ``version``: verified, ready for ``predict_frame``.

    Raises
    ------
    NotApproved
        If no reviewer has approved it.
    ConfigError, DataError
        If it does not exist, or is not what was approved.
    """
    here = place or Workspace.locate()
    return bundle_at(here, approved(here, model, version).folder)


def compare(*names: str | Version, place: Workspace | None = None) -> Comparison:
    """Versions side by side; each as ``"churn:3"``, or as :func:`run` returned it.

    Raises
    ------
    ConfigError
        If there is no such version.
    """
    here = place or Workspace.locate()
    return experiments.compare(here, [n.name if isinstance(n, Version) else n for n in names])
