"""Writes one BentoML model and the Bento that pins it, in a process of its own.

BentoML keeps its home, a Bento's arguments and the imported service as state of the process. It
runs inside the build context, so that the service is imported from the files that will travel.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from features.settings import Workspace

SOURCES = ("features", "training", "serving")
"""Packages whose Python files travel in the Bento."""
STORED = "stored_model"
"""Under this name packaging notes in the record which model a Bento pins."""


class Order(BaseModel):
    """What to write."""

    home: Path
    """``BENTOML_HOME``, where both go."""
    release: Path = Path()
    """Folder with the release, copied whole into the model."""
    service: str
    """Import path of the service, such as ``serving.churn:Churn``."""
    model: str
    """Tag of the model, ``name:version``."""
    keep_model: bool = False
    """Whether that model is stored already and whole: other Bentos may pin it."""
    bento: str
    """Tag of the Bento, ``name:version``."""
    description: str
    requirements: list[str]
    """Pinned distributions of the image."""

    @property
    def noted(self) -> dict[str, str]:
        """What packaging notes in the record, and serving looks up."""
        return {"bento": self.bento, STORED: self.model}


def home(place: "Workspace") -> Path:
    """``BENTOML_HOME``: models and Bentos can be made again, so they live in the store."""
    return place.store / "bentoml"


def environment(bentoml_home: Path) -> dict[str, str]:
    """The environment of BentoML's processes: our home, no telemetry."""
    drop = (
        "BENTOML_CONFIG",
        "BENTOML_CONFIG_OPTIONS",
        "PYTHONPATH",
    )  # our settings stand in the code
    kept = {key: value for key, value in os.environ.items() if key not in drop}
    return kept | {"BENTOML_HOME": str(bentoml_home), "BENTOML_DO_NOT_TRACK": "True"}


def folder(bentoml_home: Path, kind: str, tag: str) -> Path:
    """Where BentoML keeps a model or a Bento; ``kind`` is ``models`` or ``bentos``."""
    name, _, version = tag.partition(":")
    return bentoml_home / kind / name / version


def built(bentoml_home: Path, tag: str) -> bool:
    """Whether a Bento of that tag is there."""
    return (folder(bentoml_home, "bentos", tag) / "bento.yaml").is_file()


def build(order: Order) -> None:
    """Write both; leftovers of a killed run are replaced."""
    import bentoml

    shutil.rmtree(folder(order.home, "bentos", order.bento), ignore_errors=True)
    if not order.keep_model:
        shutil.rmtree(folder(order.home, "models", order.model), ignore_errors=True)
        with bentoml.models.create(order.model) as model:
            shutil.copytree(order.release, model.path, dirs_exist_ok=True)
    name, _, version = order.bento.partition(":")
    try:
        bentoml.build(
            order.service,
            name=name,
            version=version,
            description=order.description,
            include=[f"{package}/" for package in SOURCES],
            # A locked build needs the network and writes an index URL into the Bento.
            python={"packages": order.requirements, "lock_packages": False},
            build_ctx=str(Path.cwd()),
            args={"model": order.model},
        )
    except BaseException:
        if not order.keep_model:
            bentoml.models.delete(order.model)
        raise


if __name__ == "__main__":
    build(Order.model_validate_json(sys.stdin.buffer.read()))
