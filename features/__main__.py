"""The door of this package: ``python -m features``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from features.door import Config, DataDir, DryRun, Registry, Set, Store, answering, door, say

app = door(
    "From raw files to valid tables and feature tables. "
    "Nothing is read that a YAML does not declare."
)


@app.command()
def build(
    config: Config,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
    dry_run: DryRun = False,
) -> None:
    """Build tables and features that CONFIG names, or recognise that they are there.

    Prints the account of every record: seen = accepted + quarantined + duplicates + filtered.
    """
    with answering(store, registry, data_dir) as place:
        from features.progress import Progress
        from features.settings import load_yaml, override, validated
        from features.snapshot import FeaturePlan, build_features
        from features.sources import find_files, load_source
        from features.tables import build_tables

        values = override(load_yaml(config), set_)
        plan = validated(
            FeaturePlan,
            {k: v for k, v in values.items() if k in FeaturePlan.model_fields},
            str(config),
        )
        source = load_source(place, plan.data, plan.source)
        if dry_run:
            if source.simulate is None:
                say([f"would read {path}" for path in find_files(source, place.data)])
            say(f"would build {', '.join(p.use for p in plan.features)} into {place.store}")
            return
        progress = Progress("features", (("tables", 15.0), ("features", 8.0)))
        with progress.stage("tables"):
            stored = build_tables(place, source)
            if not stored.published.fresh:
                progress.reused("tables")
        with progress.stage("features"):
            features = build_features(
                place, stored, plan, plan.cutoffs.resolved(stored.first, stored.end)
            )
            if not features.fresh:
                progress.reused("features")
        say(json.dumps({k: stored.facts[k] for k in ("seen", "totals", "account")}, indent=1))
        say([f"tables: {stored.published.folder}", f"features: {features.folder}"])


@app.command()
def simulate(
    out: Annotated[
        Path, typer.Argument(help="Folder for the raw export; the truth goes beside it.")
    ],
    customers: Annotated[int, typer.Option(help="Number of customers.")] = 3000,
    seed: Annotated[int, typer.Option(help="Seed of the world.")] = 7,
) -> None:
    """Write the raw export of the simulated retailer, to look at.

    Pipelines on `data: simulated` make their own.
    """
    with answering():
        from features.settings import validated
        from features.simulate import SimulateConfig
        from features.simulate import simulate as write

        out.mkdir(parents=True, exist_ok=True)
        write(validated(SimulateConfig, {"customers": customers, "seed": seed}, "simulate"), out)
        say(f"written: {out}")


if __name__ == "__main__":
    app(prog_name="python -m features")
