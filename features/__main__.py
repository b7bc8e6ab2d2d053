"""The door of this package: ``python -m features``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.door import Config, DataDir, DryRun, Json, Registry, Set, Store, answering, door, say
from features.identity_door import identity
from features.source_door import COMMANDS
from features.subject_door import subject

if TYPE_CHECKING:
    from features.snapshot import FeaturePlan

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
        from features.snapshot import build_features
        from features.sources import find_files, load_source, raw_paths
        from features.tables import build_tables

        plan = _plan(config, set_)
        source = load_source(place, plan.data, plan.source)
        if dry_run:
            if source.simulate is None:
                files = find_files(source, place.data)
                say([f"would read {path}" for path in raw_paths(files)])
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
        accounts = {
            name: {k: facts[k] for k in ("seen", "totals", "account")}
            for name, facts in stored.facts["tables"].items()
        }
        say(json.dumps(accounts, indent=1))
        say([f"tables: {stored.published.folder}", f"features: {features.folder}"])


@app.command()
def check(
    config: Config,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    customers: Annotated[int, typer.Option(min=1, help="About so many are looked at.")] = 300,
    json_: Json = False,
) -> None:
    """Look for leaks in the feature sets of CONFIG, on its data: exit code 1 if there is one.

    A sample of customers is computed anew with other futures, late news, shuffled rows, fewer
    customers, a later calendar and cutoffs one by one. Leaks planted on purpose must be caught.
    """
    with answering(store, None, data_dir) as place:
        from features.leakage.report import build_checks, read_checks
        from features.pages import text_table
        from features.sources import load_source
        from features.tables import build_tables

        plan = _plan(config, set_)
        stored = build_tables(place, load_source(place, plan.data, plan.source))
        moments = plan.cutoffs.resolved(stored.first, stored.end)
        published = build_checks(place, stored, plan, moments, customers)
        report = read_checks(published.folder)
        if json_:
            say(json.dumps(published.manifest["facts"] | {"folder": str(published.folder)}))
        else:
            say([*text_table(report.rows()), "", *report.verdict, f"report: {published.folder}"])
        if not report.passed:
            raise typer.Exit(1)


@app.command()
def catalogue(
    config: Annotated[
        Path | None, typer.Argument(help="Pipeline YAML whose sets are shown; none: all sets.")
    ] = None,
    set_: Set = [],  # noqa: B006
    find: Annotated[str, typer.Option(help="Words in name, unit or meaning.")] = "",
    html: Annotated[Path | None, typer.Option(help="Write a page with a search box.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every column as a row.")] = None,
) -> None:
    """Every feature: name, type, unit, window, meaning, what missing means; files hold more."""
    with answering():
        from features import catalogue as known
        from features.pages import text_table

        sets, unset = (
            known.every_set() if config is None else (known.sets_of(_plan(config, set_)), [])
        )
        found = known.find(known.entries(sets), find)
        for path, write in ((html, known.write_html), (csv, known.write_csv)):
            if path is not None:
                write(found, path)
        say(text_table([{name: entry[name] for name in known.SHOWN} for entry in found]))
        say([f"{len(found)} columns"])
        say([f"{use}: its config names its columns; give a CONFIG that uses it" for use in unset])


@app.command()
def publish(
    configs: Annotated[
        list[Path],
        typer.Argument(
            help="Pipeline YAMLs; profiles hold the features of all.", show_default=False
        ),
    ],
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    cutoff: Annotated[
        str | None, typer.Option(help="Date as of which features hold; default: the data's end.")
    ] = None,
    store_url: Annotated[
        str | None,
        typer.Option(
            envvar="PERENNIAL_PROFILES_URL",
            help="sqlite:///folder, postgresql://... or redis://...; default: SQLite in the store.",
        ),
    ] = None,
) -> None:
    """Publish the features of the CONFIGS as profiles, to be read by customer id."""
    with answering(store, None, data_dir) as place:
        from features.cutoffs import Moments
        from features.online import default_url
        from features.publishing import publication_moment, publish_profiles
        from features.snapshot import build_features, united
        from features.sources import load_source
        from features.tables import build_tables

        plan = united([_plan(config, set_) for config in configs])
        source = load_source(place, plan.data, plan.source)
        stored = build_tables(place, source)
        moments = Moments((), publication_moment(stored, cutoff))
        features = build_features(place, stored, plan, moments)
        asked = plan.consent.purpose if plan.consent else None
        url = store_url or default_url(place)
        meta = publish_profiles(
            url, features.folder, source, consent=asked, accounts=stored.accounts()
        )
        say(f"published: {meta.rows} customers, {len(meta.columns)} columns, as of {meta.cutoff}")


@app.command()
def aggregates(
    config: Config,
    out: Annotated[Path, typer.Option(help="CSV file to write: group, customers, mean.")],
    column: Annotated[str, typer.Option(help="Column of numbers for a mean; none: counts.")] = "",
    by: Annotated[str, typer.Option(help="Column of words that names the groups.")] = "",
    epsilon: Annotated[
        float | None,
        typer.Option(help="Differentially private, at this price from the source's budget."),
    ] = None,
    among: Annotated[str, typer.Option(help="Private: the groups to tell, such as a,b.")] = "",
    between: Annotated[
        tuple[float, float], typer.Option(help="Private: bounds of a value, such as 0 2000.")
    ] = (0.0, 0.0),
    cutoff: Annotated[
        str | None, typer.Option(help="Date as of which features hold; default: the data's end.")
    ] = None,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Counts and means of groups of customers for export, none of fewer than 20."""
    with answering(store, registry, data_dir) as place:
        from functools import partial

        from features.aggregates import Question, charge, exact, private, written
        from features.cutoffs import Moments
        from features.errors import ConfigError
        from features.publishing import publication_moment
        from features.snapshot import build_features, read_features
        from features.sources import load_source
        from features.tables import build_tables

        plan, question = _plan(config, set_), Question(column, by)
        if "privacy_budget" in plan.source:
            raise ConfigError(
                "source.privacy_budget: a budget stands in the source's own YAML, where it is "
                "decided on; no pipeline and no --set changes it"
            )
        source = load_source(place, plan.data, plan.source)
        stored = build_tables(place, source)
        moments = Moments((), publication_moment(stored, cutoff))
        table = read_features(build_features(place, stored, plan, moments).folder)
        if epsilon is None:
            rows = exact(table, question)
        else:
            asked = f"{column or 'customers'} by {by or 'nothing'}, as of {moments.test:%Y-%m-%d}"
            pay = partial(charge, place, source, epsilon, asked)
            groups = among.split(",") if among else ()
            rows = private(table, question, epsilon, pay, groups, between)
        written(rows, out)
        say(f"written: {out}, {len(rows)} groups as of {moments.test:%Y-%m-%d}")


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


def _plan(config: Path, assignments: list[str]) -> "FeaturePlan":
    """What this package reads of a pipeline YAML."""
    from features.settings import load_yaml, override, validated
    from features.snapshot import FeaturePlan

    values = override(load_yaml(config), assignments)
    ours = {k: v for k, v in values.items() if k in FeaturePlan.model_fields}
    return validated(FeaturePlan, ours, str(config))


for command in (*COMMANDS, identity):
    app.command()(command)
app.add_typer(subject, name="subject")


if __name__ == "__main__":
    app(prog_name="python -m features")
