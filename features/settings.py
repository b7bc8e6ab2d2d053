"""Settings: strict YAML in, frozen typed objects out, and a fingerprint of what they say."""

import copy
import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from features.errors import ConfigError

MAX_YAML_BYTES = 1_000_000


class Strict(BaseModel):
    """Base of every settings class: frozen, unknown keys forbidden, docstrings as field help."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


T = TypeVar("T", bound=Strict)


class Part(Strict):
    """A class and its settings, named in YAML as ``{use: file.Class, config: {...}}``."""

    use: str
    """``file.Class`` below one fixed package, such as ``gbm.Gbm``."""
    config: dict[str, Any] = {}
    """Fields of the class's own settings; its defaults fill the rest."""


class Workspace(Strict):
    """Where things live. Never part of a fingerprint."""

    store: Path
    """What can be made again: tables, features, Bentos."""
    registry: Path
    """What cannot: the MLflow database, artifacts, the approval record."""
    keys: Path
    """Signing and pseudonym keys; outside both folders above."""
    data: Path | None
    """The folder with raw files; None where only the simulated source is used."""
    configs: Path
    """The folder that holds pipeline YAMLs and ``data/<source>.yaml``."""

    @classmethod
    def locate(
        cls,
        store: Path | None = None,
        registry: Path | None = None,
        data: Path | None = None,
        configs: Path | None = None,
    ) -> "Workspace":
        """Arguments first, then the environment, then folders below the current one.

        Raises
        ------
        ConfigError
            If the keys folder lies inside the store or the registry.
        """
        env = os.environ
        config_home = Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        data_env = env.get("PERENNIAL_DATA_DIR")
        place = cls(
            store=(store or Path(env.get("PERENNIAL_STORE") or "store")).resolve(),
            registry=(registry or Path(env.get("PERENNIAL_REGISTRY") or "registry")).resolve(),
            keys=Path(
                env.get("PERENNIAL_KEYS_DIR") or config_home / "perennial" / "keys"
            ).resolve(),
            data=data.resolve() if data else Path(data_env).resolve() if data_env else None,
            configs=(configs or Path("configs")).resolve(),
        )
        for name, folder in (("store", place.store), ("registry", place.registry)):
            if place.keys == folder or folder in place.keys.parents:
                raise ConfigError(
                    f"the keys folder {place.keys} lies inside the {name} {folder}; "
                    "set PERENNIAL_KEYS_DIR to a folder outside both"
                )
        return place

    def source_yaml(self, source: str) -> Path:
        """The YAML that declares ``source``.

        Raises
        ------
        ConfigError
            If the name is not a plain one, or no such file exists.
        """
        if not re.fullmatch(r"[A-Za-z0-9_]+", source):
            raise ConfigError(f"source name {source!r}: only letters, digits and _ are allowed")
        path = self.configs / "data" / f"{source}.yaml"
        if not path.is_file():
            known = sorted(p.stem for p in (self.configs / "data").glob("*.yaml"))
            raise ConfigError(f"no source {source!r}: {path} does not exist; known: {known}")
        return path


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (which can blow up) and without doubled keys (which lose one)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.current_event.start_mark
            raise ConfigError(f"line {mark.line + 1}: YAML aliases are not allowed; write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(
                    f"line {key_node.start_mark.line + 1}: key {key!r} is no text; quote it"
                )
            if key in seen:
                raise ConfigError(f"line {key_node.start_mark.line + 1}: key {key!r} stands twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises
    ------
    ConfigError
        If the file is missing, too large, not UTF-8, not YAML, not a mapping, uses aliases or
        repeats a key.
    """
    try:
        size = path.stat().st_size
        if size > MAX_YAML_BYTES:
            raise ConfigError(f"{path}: {size} bytes; a config has at most {MAX_YAML_BYTES}")
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, found {type(loaded).__name__}")
    return loaded


def override(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of ``values`` with ``a.b=c`` assignments applied; ``c`` is read as YAML.

    Raises
    ------
    ConfigError
        If an assignment has no ``=``, its value is not YAML, or its path runs through a value.
    """
    result = copy.deepcopy(dict(values))
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        if not sign or not path:
            raise ConfigError(f"--set {assignment!r}: expected a.b=value")
        try:
            value = yaml.load(text, Loader=_Loader)  # noqa: S506
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ConfigError(f"--set {assignment!r}: the value is not YAML; quote it") from None
        _assign(result, path, value, f"--set {assignment!r}")
    return result


def overlaid(values: Mapping[str, Any], changes: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """A copy of ``values`` with the leaves of ``changes`` in their places; keys may be dotted.

    Raises
    ------
    ConfigError
        If a path runs through a plain value.
    """
    result = copy.deepcopy(dict(values))
    for path, value in _leaves(changes):
        _assign(result, path, value, origin)
    return result


def _leaves(changes: Mapping[str, Any], stem: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in changes.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{stem}{key}.")
        else:
            yield f"{stem}{key}", value


def _assign(values: dict[str, Any], path: str, value: Any, origin: str) -> None:
    *parents, last = path.split(".")
    node: Any = values
    for key in parents:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{origin}: {key!r} is not a group of settings")
    node[last] = value


def validated(cls: type[T], values: Mapping[str, Any], origin: str) -> T:
    """``cls`` from ``values``; every wrong key and value is listed at once.

    Raises
    ------
    ConfigError
        If anything does not fit.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False, include_context=False):
            where = ".".join(str(step) for step in item["loc"]) or "(top)"
            if item["type"] == "extra_forbidden":
                known = ", ".join(sorted(cls.model_fields))
                problems.append(f"{where}: unknown key; keys at the top are: {known}")
            else:
                problems.append(f"{where}: {item['msg']} (found {str(item['input'])[:60]!r})")
        raise ConfigError.listing(f"{origin}: {len(problems)} problem(s)", problems) from None


def resolve(home: str, part: Part) -> Any:
    """The object that ``part`` names: ``Class`` of module ``home.file``, built from its config.

    The class annotates ``config`` with its settings class; that annotation types the YAML.

    Raises
    ------
    ConfigError
        If the name is not ``file.Class`` below ``home``, or its config does not fit.
    """
    match = re.fullmatch(r"([a-z][a-z0-9_]*)\.([A-Z][A-Za-z0-9]*)", part.use)
    if match is None:
        raise ConfigError(f"use: {part.use!r}: expected file.Class, such as gbm.Gbm")
    folder = Path(importlib.import_module(home).__path__[0])
    known = sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    if match[1] not in known:
        raise ConfigError(f"use: {part.use!r}: {home} has no file {match[1]!r}; it has {known}")
    module = importlib.import_module(f"{home}.{match[1]}")
    cls = getattr(module, match[2], None)
    annotation = getattr(cls, "__annotations__", {}).get("config")
    if cls is None or cls.__module__ != module.__name__ or annotation is None:
        raise ConfigError(f"use: {part.use!r}: {module.__name__} defines no such part")
    return cls(validated(annotation, part.config, f"config of {part.use}"))


def canonical(value: Any) -> str:
    """JSON with sorted keys: the text that fingerprints are taken of.

    Settings keep the order of their own keys: rules are tried in the order they are written in.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> str:
    return value.model_dump_json() if isinstance(value, BaseModel) else str(value)


def fingerprint(*values: Any) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical JSON of ``values``."""
    return hashlib.sha256(canonical(list(values)).encode()).hexdigest()[:16]


def code_fingerprint(*packages: str) -> str:
    """Fingerprint of the sources of ``packages``: a changed line makes steps run again."""
    digest = hashlib.sha256()
    for package in packages:
        root = Path(importlib.import_module(package).__path__[0])
        for path in sorted((*root.rglob("*.py"), *root.rglob("*.html"))):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
