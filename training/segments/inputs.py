"""What a segmentation is learned from and judged by, and whether the YAML fits it."""

from collections.abc import Sequence

from features.errors import ConfigError
from features.schema import FeatureColumn
from features.settings import resolve
from features.snapshot import read_features, read_schema
from training.pipeline import Prepared
from training.segments.baselines import RFM
from training.segments.choose import WAYS
from training.segments.config import SegmentsConfig, SegmentsPlan
from training.splits import Splits, split


def read_splits(plan: SegmentsPlan, prepared: Prepared) -> Splits:
    """Feature rows of everyone segmented at every cutoff, with the spend of the period after it.

    Raises
    ------
    ConfigError
        If the YAML names columns that the features do not have, or that hold words.
    """
    schema = read_schema(prepared.features.folder)
    check_columns(plan.config, schema)
    features = read_features(prepared.features.folder).to_pandas()
    return split(
        prepared.stored, features, plan.task.spend, prepared.moments, schema, plan.config.sample
    )


def check_columns(config: SegmentsConfig, schema: Sequence[FeatureColumn]) -> None:
    """Refuse names of columns that are not there, or hold words; all at once.

    Raises
    ------
    ConfigError
        Naming each place and column.
    """
    known = {column.name: column for column in schema}
    asked = {f"columns.{name}": columns for name, columns in config.columns.items()}
    asked |= {"value": (config.value,), "baselines": RFM}
    for part in config.ways:
        asked[f"ways, {part.use}"] = resolve(WAYS, part).columns()
    problems = [
        f"{place}: no column {name!r} among the features; add its set below `features:`"
        for place, columns in asked.items() for name in columns if name not in known
    ]  # fmt: skip
    worded = {
        f"ways, {part.use}": set(getattr(resolve(WAYS, part).config, "words", ()))
        for part in config.ways
    }
    for place, columns in asked.items():
        for name in columns:
            if name in known and known[name].sensitivity == "audit":
                problems.append(f"{place}: {name!r} is kept for audits; nothing learns from it")
                continue
            said, words = (
                name in worded.get(place, ()),
                name in known and known[name].dtype == "string",
            )
            if name in known and words != said:
                problems.append(
                    f"{place}: {name!r} holds words; only rules.Rules takes them, below `words:`"
                    if words
                    else f"{place}: {name!r} holds numbers, cut it by quantiles or values"
                )
    if problems:
        raise ConfigError.listing("the segmentation does not fit its features", problems)
