"""Monotone constraints by the catalogue: what columns say of buying, put into a model's config."""

from collections.abc import Sequence
from typing import Any

from features.errors import ConfigError
from features.schema import FeatureColumn
from training.contract import Task
from training.model_part import ModelPart

FIELD, ASKED = "monotone_constraints", "catalogue"
SIGN = {"more": 1, "less": -1}


def held_to_catalogue(part: ModelPart, columns: Sequence[FeatureColumn], task: Task) -> ModelPart:
    """``part``, and the parts that it is made of, with the columns in place of ``catalogue``.

    Raises
    ------
    ConfigError
        If the question is not about buying, or no column says anything of it.
    """
    beside = tuple(p for p in part.averaged_with if _asks(p.config))
    if beside:
        raise ConfigError(
            f"{part.use}: averaged_with: {beside[0].use}: {FIELD}: {ASKED} is for the model itself"
        )
    if not _asks(part.config):
        return part
    signs = {k.name: SIGN[k.buying] * task.buying for k in columns if k.buying}
    if not task.buying or not signs:
        why = "no column of its sets says which way" if task.buying else "it is not about buying"
        raise ConfigError(
            f"{part.use}: {FIELD}: {ASKED} does not fit the question {task.name!r}: {why}; "
            "name columns with 1 or -1, or leave it out"
        )
    return part.model_copy(update={"config": _put(part.config, signs)})


def unheld(part: ModelPart, columns: Sequence[FeatureColumn]) -> list[str]:
    """Repairs of ``part`` whose marks would move its score against the constraints of a column."""
    said = part.config.get(FIELD) or {}
    held = {k.name for k in columns if k.buying} if _asks(part.config) else set(said)
    return [
        f"{part.use}: repairs.{name}: {FIELD} could not hold the mark of its outliers; impute "
        "alone, or free the column"
        for name, repair in part.repairs.items()
        if repair.outliers is not None and name in held
    ]


def _asks(config: Any) -> bool:
    if isinstance(config, dict):
        return config.get(FIELD) == ASKED or any(_asks(value) for value in config.values())
    return isinstance(config, (list, tuple)) and any(_asks(value) for value in config)


def _put(config: Any, signs: dict[str, int]) -> Any:
    if isinstance(config, dict):
        return {
            name: signs if (name, value) == (FIELD, ASKED) else _put(value, signs)
            for name, value in config.items()
        }
    return [_put(value, signs) for value in config] if isinstance(config, (list, tuple)) else config
