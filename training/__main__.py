"""The door of this package: ``python -m training``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from features.door import DataDir, DryRun, Json, Registry, Set, Store, answering, door, say
from features.errors import ConfigError
from features.settings import Workspace

app = door("From a pipeline YAML to a registered version, and a person's decision about it.")

Configs = Annotated[
    list[Path] | None,
    typer.Argument(help="Pipeline YAMLs, such as configs/churn.yaml.", show_default=False),
]
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
    configs: Configs = None,
    all_: Annotated[bool, typer.Option("--all", help="Every pipeline in configs/.")] = False,
    set_: Set = [],  # noqa: B006
    trials: Annotated[
        int | None, typer.Option(help="Trials of the search, as --set search.trials=N.", min=0)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, as --set seed=N.")] = None,
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
    dry_run: DryRun = False,
    json_: Json = False,
) -> None:
    """Run pipelines: tables, features, search, fit, calibration, review pack, registered version.

    Steps that were done with the same inputs are recognised; an interrupted run goes on where it
    stopped. All pipelines are checked before the first one begins.
    """
    with answering(store, registry, data_dir) as place:
        from training import pipeline

        paths = _chosen(place, configs or [], all_)
        shortcuts = {"search.trials": trials, "seed": seed}
        settings = [*set_, *(f"{k}={v}" for k, v in shortcuts.items() if v is not None)]
        plans = [pipeline.load_plan(place, path, settings) for path in paths]
        if dry_run:
            for plan in plans:
                lines = pipeline.dry_run(place, plan)
                say([f"{plan.config.name} would:", *[f"  {line}" for line in lines]])
            return
        from training.runs import run as run_pipeline

        for plan in plans:
            done = run_pipeline(place, plan)
            name, report = plan.config.name, done.pack.folder / "report.html"
            if json_:
                outcome = {"model": name, "version": done.version, "report": str(report)}
                say(json.dumps(outcome))
                continue
            say([
                f"{name} version {done.version} is registered; review it: "
                f"python -m training review {name} --version {done.version}",
                f"report: {report}",
            ])  # fmt: skip


def _chosen(place: Workspace, configs: Sequence[Path], everything: bool) -> list[Path]:
    if bool(configs) == everything:
        raise ConfigError("name one or more pipeline YAMLs, or give --all")
    return sorted(place.configs.glob("*.yaml")) if everything else list(configs)


Named = Annotated[
    list[str], typer.Argument(help="Versions, such as churn:3; churn is the newest of churn.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for the tables (CSV), the page and the plot.")
]


@app.command()
def compare(names: Named, out: Out = None, store: Store = None, registry: Registry = None) -> None:
    """Set versions side by side: metrics with intervals, and the settings that differ."""
    with answering(store, registry) as place:
        from training import experiments

        found = experiments.compare(place, names)
        say(repr(found))
        if out is not None:
            found.write(out)
            say(f"written: {out / 'compare.html'}")


@app.command()
def leaderboard(
    model: Annotated[str | None, typer.Argument(help="One model; all if not given.")] = None,
    out: Out = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """List every registered version with its metrics, gates and standing."""
    with answering(store, registry) as place:
        from training import experiments
        from training.report import text_table

        found = experiments.versions(place, model)
        if not found:
            raise ConfigError(f"no registered version in {place.registry}; run a pipeline first")
        board = experiments.leaderboard(found)
        for _, part in board.groupby("model", sort=True):
            say([text_table(experiments.ranked(part)), ""])
        if out is not None:
            experiments.write_leaderboard(board, out)
            say(f"written: {out / 'leaderboard.html'}")


@app.command()
def rerun(
    name: Annotated[str, typer.Argument(help="Version, such as churn:3.")],
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Make a version again from its record alone and compare; ends with code 1 if anything differs.

    It is made in a store of its own, from raw files on, and not registered.
    """
    with answering(store, registry, data_dir) as place:
        from training import experiments
        from training.report import text_table

        table = experiments.rerun(place, name)
        say(text_table(table))
        if not table["same"].all():
            say(f"{int((~table['same']).sum())} of {len(table)} differ")
            raise SystemExit(1)
        say("the same to the last bit")


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
