"""Commands about experiments: versions side by side, made again, in variants."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from features.door import Config, DataDir, Registry, Set, Store, answering, say
from features.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for the tables (CSV), the page and the plot.")
]
Named = Annotated[
    list[str], typer.Argument(help="Versions, such as churn:3; churn is the newest of churn.")
]


def compare(names: Named, out: Out = None, store: Store = None, registry: Registry = None) -> None:
    """Set versions side by side: metrics with intervals, and the settings that differ."""
    with answering(store, registry) as place:
        from training import experiments

        found = experiments.compare(place, names)
        say(repr(found))
        if out is not None:
            found.write(out)
            say(f"written: {out / 'compare.html'}")


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


def sweep(
    config: Config,
    over: Annotated[
        list[str],
        typer.Option(help="Setting and its values, such as 'seed=[1, 2, 3]'; several: the grid."),
    ] = [],  # noqa: B006
    without_each: Annotated[
        bool, typer.Option("--without-each", help="Also leave out each feature set in turn.")
    ] = False,
    set_: Set = [],  # noqa: B006
    out: Out = None,
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Learn a pipeline in variants and compare each with it as written; registers nothing.

    All variants look at the test cutoff: judge the one that you pick on another.
    """
    with answering(store, registry, data_dir) as place:
        from training import pipeline, variants

        chosen = variants.grid(over)
        if without_each:
            chosen += variants.without_each(pipeline.load_plan(place, config, set_))
        if not chosen:
            raise ConfigError("nothing to vary: give --over or --without-each")
        _shown(variants.sweep(place, config, set_, chosen), out, "sweep")


def search(
    config: Config,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Help with the search of a run that has begun it, from another process or machine.

    Machines share studies where PERENNIAL_STUDIES says, such as a PostgreSQL database.
    """
    with answering(store, registry, data_dir) as place:
        from training import pipeline
        from training.runs import stages
        from training.supervised.config import SupervisedConfig, SupervisedPlan
        from training.supervised.stages import work

        plan = pipeline.load_plan(place, config, set_)
        if not isinstance(plan.config, SupervisedConfig):
            raise ConfigError(f"{config}: its search is worked on by its run alone")
        progress = stages(plan)
        prepared = pipeline.prepare(place, plan, progress)
        with progress.stage("search"):
            trials = work(place, cast("SupervisedPlan", plan), prepared, progress)
        say(f"{plan.config.name}: {len(trials)} trials are finished")


def why(
    one: Annotated[str, typer.Argument(help="Version, such as churn:3.", show_default=False)],
    other: Annotated[str, typer.Argument(help="Version, such as churn:4.", show_default=False)],
    out: Out = None,
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Say why a metric changed: swap data, question, features and parameters one after another."""
    with answering(store, registry, data_dir) as place:
        from training import variants

        _shown(variants.why(place, one, other), out, "why")


def _shown(table: "pd.DataFrame", out: Path | None, name: str) -> None:
    from training.report import text_table
    from training.variants import write

    say(text_table(table))
    if out is not None:
        write(table, out, name)
        say(f"written: {out / name}.csv and .png")


COMMANDS = (compare, leaderboard, rerun, search, sweep, why)
