"""The door of this package: ``python -m training``."""

import json
from typing import Annotated

import typer

from features.door import Config, DataDir, DryRun, Json, Registry, Set, Store, answering, door, say

app = door("From a pipeline YAML to a registered version, and a person's decision about it.")

Model = Annotated[str, typer.Argument(help="Registered model, such as churn.", show_default=False)]
Version = Annotated[int, typer.Option(help="Version of the model.", show_default=False)]
Reviewer = Annotated[str, typer.Option(help="Who decides; kept in the record.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; kept in the record.", show_default=False)]
Override = Annotated[
    str, typer.Option(help="Why a failed gate does not matter here; kept in the record.")
]
Release = Annotated[
    bool, typer.Option("--release", help="Demand that the code is the committed code.")
]


@app.command()
def run(
    config: Config,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
    dry_run: DryRun = False,
    json_: Json = False,
) -> None:
    """Run a pipeline: tables, features, search, fit, calibration, review pack, registered version.

    Steps that were done with the same inputs are recognised; an interrupted run goes on where it
    stopped.
    """
    with answering(store, registry, data_dir) as place:
        from training import pipeline

        plan = pipeline.load_plan(place, config, set_)
        if dry_run:
            say(["would:", *[f"  {line}" for line in pipeline.dry_run(place, plan)]])
            return
        from training.runs import run as run_pipeline

        done = run_pipeline(place, plan)
        report = done.pack.folder / "report.html"
        if json_:
            outcome = {"model": plan.config.name, "version": done.version, "report": str(report)}
            say(json.dumps(outcome))
            return
        say([
            f"{plan.config.name} version {done.version} is registered; review it: "
            f"python -m training review {plan.config.name} --version {done.version}",
            f"report: {report}",
        ])  # fmt: skip


@app.command()
def review(
    model: Model,
    version: Annotated[int | None, typer.Option(help="Version; the newest if not given.")] = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Show gates, metrics beside baselines and champion, the record, and where the pack is."""
    with answering(store, registry) as place:
        from training import review as room

        say(room.show(place, model, version))


@app.command()
def approve(
    model: Model,
    version: Version,
    reviewer: Reviewer,
    reason: Reason,
    override: Override = "",
    release: Release = False,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Make a version the champion. Refused where a gate failed without --override."""
    with answering(store, registry) as place:
        from training import review as room

        entry = room.approve(place, model, version, reviewer, reason, override, release)
        say(f"{model} version {version} is champion; record entry {entry.number}")


@app.command()
def reject(
    model: Model,
    version: Version,
    reviewer: Reviewer,
    reason: Reason,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Refuse a version; if it is the champion, the one before it stands again."""
    with answering(store, registry) as place:
        from training import review as room

        entry = room.reject(place, model, version, reviewer, reason)
        say(f"{model} version {version} is rejected; record entry {entry.number}")


@app.command()
def rollback(
    model: Model,
    version: Version,
    reviewer: Reviewer,
    reason: Reason,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Make an earlier approved version the champion again."""
    with answering(store, registry) as place:
        from training import review as room

        entry = room.rollback(place, model, version, reviewer, reason)
        say(f"{model} version {version} is champion again; record entry {entry.number}")


if __name__ == "__main__":
    app(prog_name="python -m training")
