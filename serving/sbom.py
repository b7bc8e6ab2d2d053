"""What a Bento is made of: a CycloneDX list of its distributions, and their licences.

Written when a Bento is built, from the metadata of the distributions that are installed then, which
are the ones that its image pins. The same distributions give the same bytes.
"""

import csv
import io
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SBOM, LICENCES = "sbom.cdx.json", "licences.csv"
FOLDER = Path(__file__).parent
"""Where they lie in a Bento: beside this file."""
UNKNOWN = "not stated"
_CLASSIFIER = "License :: "
_LONGEST = 80
"""Characters of a licence's name; a longer field holds its text."""


@dataclass(frozen=True)
class Component:
    """One distribution of a Bento."""

    name: str
    version: str
    licence: str
    """An SPDX expression where the distribution gives one, else the name that it gives."""
    spdx: bool
    needs: tuple[str, ...]
    """Other components that it depends on."""

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


def components(roots: Iterable[str]) -> tuple[Component, ...]:
    """The installed ones among ``roots`` and all that they depend on, by name."""
    found: dict[str, Component] = {}
    waiting: list[str] = [canonicalize_name(name) for name in roots]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:  # one of two builds, or for another platform
            continue
        needs = _needs(installed)
        found[name] = Component(name, installed.version, *_licence(installed), needs)
        waiting += needs
    return tuple(found[name] for name in sorted(found))


def _needs(installed: Distribution) -> tuple[str, ...]:
    asked = (Requirement(line) for line in installed.requires or ())
    wanted = (r for r in asked if r.marker is None or r.marker.evaluate({"extra": ""}))
    return tuple(sorted({canonicalize_name(r.name) for r in wanted}))


def _licence(installed: Distribution) -> tuple[str, bool]:
    """The licence as the distribution states it, and whether that is an SPDX expression."""
    told = installed.metadata.json
    if told.get("license_expression"):
        return str(told["license_expression"]), True
    classified = [
        line.rpartition(" :: ")[2]
        for line in told.get("classifier", ())
        if line.startswith(_CLASSIFIER)
    ]
    named = str(told.get("license", "")).strip()
    if "\n" in named or len(named) > _LONGEST:
        named = ""
    return ", ".join(classified) or named or UNKNOWN, False


def cyclonedx(parts: Iterable[Component], name: str, version: str) -> dict[str, Any]:
    """The components as CycloneDX 1.6; no time stands in it.

    Parameters
    ----------
    name, version
        Of the Bento that is made of them.

    References
    ----------
    ECMA-424, https://cyclonedx.org/docs/1.6/json/
    """
    known = {part.name: part for part in parts}
    listed = [
        {
            "type": "library", "bom-ref": part.purl, "name": part.name, "version": part.version,
            "purl": part.purl,
            "licenses": [{"expression": part.licence} if part.spdx
                         else {"license": {"name": part.licence}}],
        }
        for part in known.values()
    ]  # fmt: skip
    depends = [
        {"ref": part.purl, "dependsOn": [known[n].purl for n in part.needs if n in known]}
        for part in known.values()
    ]
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([name, version, listed]))
    own = {"type": "application", "bom-ref": name, "name": name, "version": version}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{number}",
        "version": 1, "metadata": {"component": own}, "components": listed,
        "dependencies": depends,
    }  # fmt: skip


def write(parts: Iterable[Component], name: str, version: str, folder: Path) -> None:
    """Write both files."""
    parts = tuple(parts)
    text = json.dumps(cyclonedx(parts, name, version), indent=1)
    (folder / SBOM).write_text(text, encoding="utf-8")
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["name", "version", "licence"])
    writer.writerows([part.name, part.version, part.licence] for part in parts)
    (folder / LICENCES).write_text(lines.getvalue(), encoding="utf-8")


def summary(folder: Path = FOLDER) -> str:
    """What the model page says of them."""
    if not (folder / SBOM).is_file():
        return "not packaged: the installed distributions"
    told: Mapping[str, Any] = json.loads((folder / SBOM).read_text(encoding="utf-8"))
    licences = {json.dumps(part["licenses"], sort_keys=True) for part in told["components"]}
    return (
        f"{len(told['components'])} distributions under {len(licences)} licences, listed in "
        f"{SBOM} (CycloneDX {told['specVersion']}) and {LICENCES} of the Bento"
    )
