"""The door of this package: ``python -m training``."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.door import Config, DataDir, DryRun, Json, Registry, Set, Store, answering, door, say
from features.errors import ConfigError, PerennialError
from training import decision_door, experiment_door

if TYPE_CHECKING:
    from features.settings import Workspace
    from training.pipeline import AnyPlan

app = door("From a pipeline YAML to a registered version, and a person's decision about it.")

Warm = Annotated[
    bool,
    typer.Option("--warm", help="Start searches from what the champion and others were given."),
]
Configs = Annotated[
    list[Path] | None,
    typer.Argument(help="Pipeline YAMLs, such as configs/churn.yaml.", show_default=False),
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
    workers: Annotated[
        int | None, typer.Option(help="Processes for a search; or PERENNIAL_WORKERS.", min=1)
    ] = None,
    warm: Warm = False,
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
        plans = [_plan(place, path, settings, warm) for path in paths]
        if workers is not None:
            os.environ["PERENNIAL_WORKERS"] = str(workers)
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


def _chosen(place: "Workspace", configs: Sequence[Path], everything: bool) -> list[Path]:
    if bool(configs) == everything:
        raise ConfigError("name one or more pipeline YAMLs, or give --all")
    return sorted(place.configs.glob("*.yaml")) if everything else list(configs)


def _plan(place: "Workspace", path: Path, settings: Sequence[str], warm: bool) -> "AnyPlan":
    from training.pipeline import load_plan

    plan = load_plan(place, path, settings)
    if not warm:
        return plan
    from training.warm import warm_start

    return load_plan(place, path, [*settings, *warm_start(place, plan)])


@app.command()
def preflight(
    config: Config,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Count customers and labels at every cutoff and estimate the cost; learn nothing.

    Ends with code 2 if the run would not come to an end.
    """
    with answering(store, registry, data_dir) as place:
        from training import pipeline
        from training.preflight import preflight as look
        from training.preflight import refuse
        from training.report import text_table

        found = look(place, pipeline.load_plan(place, config, set_))
        say([text_table(found.cutoffs), "", *found.cost, "", "the run would:"])
        say([f"  {step}" for step in found.steps])
        refuse(found)


@app.command()
def refresh(
    configs: Configs = None,
    all_: Annotated[bool, typer.Option("--all", help="Every pipeline in configs/.")] = False,
    set_: Set = [],  # noqa: B006
    warm: Warm = False,
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Run pipelines on the newest data; register what passes its gates, the champion's among them.

    For a schedule: one pipeline's trouble does not stop the others, nothing is promoted, and the
    code at the end is 2 if any could not run.
    """
    with answering(store, registry, data_dir) as place:
        from training.runs import run as run_pipeline

        paths, troubles = _chosen(place, configs or [], all_), []
        for path in paths:
            try:
                plan = _plan(place, path, set_, warm)
                done = run_pipeline(place, plan, only_passed=True)
            except PerennialError as error:
                troubles.append(f"{path}: {error}")
                continue
            report = done.pack.folder / "report.html"
            told = f"version {done.version}" if done.version else "failed its gates, not registered"
            say(f"{plan.config.name}: {told}; report: {report}")
        if troubles:
            raise ConfigError.listing(f"{len(troubles)} of {len(paths)} could not run", troubles)


for command in (*experiment_door.COMMANDS, *decision_door.COMMANDS):
    app.command(command.__name__.strip("_"))(command)  # `import` is Python's own word


if __name__ == "__main__":
    app(prog_name="python -m training")
