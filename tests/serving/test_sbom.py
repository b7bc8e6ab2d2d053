"""What a Bento is made of: every distribution once, with its licence, in a valid CycloneDX file."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from serving import sbom
from serving.package import REQUIREMENTS


@pytest.fixture(scope="module")
def parts() -> tuple[sbom.Component, ...]:
    """What the Bentos of this installation are made of."""
    return sbom.components(REQUIREMENTS)


def test_all_that_is_imported_is_listed(parts: tuple[sbom.Component, ...]) -> None:
    """Installed versions, what is needed by need, and nothing of optional extras."""
    named = {part.name: part for part in parts}
    assert len(named) == len(parts)
    assert named["fastapi"].version == version("fastapi")
    assert {"starlette", "pydantic-core", "python-dateutil", "llvmlite"} <= set(named)
    assert "starlette" in named["fastapi"].needs
    assert not {"mlflow", "pytest", "playwright"} & set(named)
    assert all(need in named or need == "xgboost" for name in ("fastapi", "pandas")
               for need in named[name].needs)  # fmt: skip
    assert named["numpy"].licence != sbom.UNKNOWN
    assert sum(part.licence == sbom.UNKNOWN for part in parts) < 3


def test_the_same_parts_give_the_same_bytes(
    parts: tuple[sbom.Component, ...], tmp_path: Path
) -> None:
    """No time and no order of finding is in it; another part is another document."""
    made = sbom.cyclonedx(parts, "churn", "v1")
    assert made == sbom.cyclonedx(sbom.components(reversed(REQUIREMENTS)), "churn", "v1")
    assert made["serialNumber"] != sbom.cyclonedx(parts[1:], "churn", "v1")["serialNumber"]
    assert sbom.summary(tmp_path) == "not packaged: the installed distributions"
    sbom.write(parts, "churn", "v1", tmp_path)
    assert json.loads((tmp_path / sbom.SBOM).read_text()) == made
    assert sbom.summary(tmp_path).startswith(f"{len(parts)} distributions under ")
    refs = {part["bom-ref"] for part in made["components"]}
    assert {ref for one in made["dependencies"] for ref in one["dependsOn"]} <= refs
    assert [one["ref"] for one in made["dependencies"]] == [
        p["bom-ref"] for p in made["components"]
    ]


def test_it_is_valid_cyclonedx(parts: tuple[sbom.Component, ...]) -> None:
    """By the standard's own schema."""
    pytest.importorskip("jsonschema", reason="the schema is checked by it")
    validation = pytest.importorskip("cyclonedx.validation.json", reason="brings the schema")
    from cyclonedx.schema import SchemaVersion

    text = json.dumps(sbom.cyclonedx(parts, "churn", "v1"))
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
