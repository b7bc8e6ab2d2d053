"""Every service keeps the contract: pinned model, our guard in front, nothing beside it."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import serving

FOLDER = Path(serving.__path__[0])
FOUND = sorted(path.stem for path in FOLDER.glob("*.py") if "@bentoml.service" in path.read_text())

# Importing BentoML 1.4.39 uses what pathspec and pydantic deprecate; until BentoML follows them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(params=FOUND)
def service(request: pytest.FixtureRequest) -> Any:
    """The one BentoML service of a file."""
    from _bentoml_sdk import Service

    module = importlib.import_module(f"serving.{request.param}")
    services = [value for value in vars(module).values() if isinstance(value, Service)]
    assert len(services) == 1, "one file, one service"
    return services[0]


def test_services_are_found() -> None:
    """The walk sees the churn service."""
    assert "churn" in FOUND


def test_packaging_finds_it_by_its_question(service: Any) -> None:
    """``serving/<task>.py`` holds class ``<Task>``."""
    task = service.inner.__module__.removeprefix("serving.")
    assert service.inner.__name__ == task.title().replace("_", "")
    module = importlib.import_module(f"serving.{task}")
    assert getattr(module, service.inner.__name__) is service


def test_model_is_pinned_by_the_bento(service: Any) -> None:
    """An exact tag that the Bento's argument sets; never the newest."""
    from bentoml.models import BentoModel

    assert isinstance(service.inner.model, BentoModel)
    assert str(service.inner.model.tag) == "unpinned:none"
    source = (FOLDER / f"{service.inner.__module__.rpartition('.')[2]}.py").read_text()
    assert "latest" not in source


def test_guard_stands_in_front_of_a_mounted_app(service: Any) -> None:
    """BentoML's layers that would answer before the guard are off, and it has no own APIs."""
    from serving import base

    service.inject_config()
    assert [middleware for middleware, _ in service.middlewares] == [base.guarded]
    assert [path for _, path, _ in service.mount_apps] == ["/"]
    assert (service.apis, service.dependencies) == ({}, {})
    assert service.config["metrics"] == {"enabled": False}
    assert service.config["logging"] == {"access": {"enabled": False}}
    assert "max_concurrency" not in service.config["traffic"]
    assert service.config["traffic"]["timeout"] > base.Limits().seconds
    assert service.config["workers"] == 1


def test_importing_reads_and_makes_nothing(service: Any) -> None:
    """Its app has no routes but the description before a release is opened."""
    app = service.mount_apps[0][0]
    assert {route.path for route in app.routes} == {"/openapi.json"}


@pytest.mark.parametrize("name", FOUND)
def test_service_is_small(name: str) -> None:
    """A service is a few lines; what they share is in base."""
    text = (FOLDER / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 40
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("name", FOUND)
def test_import_is_thin_and_quiet(name: str, tmp_path: Path) -> None:
    """The process that only starts a worker gets no model library, and nothing is written."""
    heavy = "{'mlflow', 'optuna', 'shap', 'matplotlib', 'xgboost', 'pandas', 'sklearn', 'scipy'}"
    code = f"import sys, serving.{name}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(FOLDER.parent), "BENTOML_HOME": str(tmp_path / "home")},
    )
    assert done.stdout.strip() == "[]"
    assert not list(tmp_path.glob("[!w]*"))
