"""The door of this package: ``python -m serving``."""

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from features.door import DataDir, DryRun, Json, Registry, Set, Store, answering, door, say

app = door("From an approved version to a service that predicts and explains over HTTP.")

Model = Annotated[str, typer.Argument(help="Registered model, such as churn.", show_default=False)]
Version = Annotated[
    int | None, typer.Option(help="An approved version; the champion if not given.")
]
Out = Annotated[Path, typer.Option(help="File to write, .csv or .parquet.")]
AsOf = Annotated[
    str | None, typer.Option(help="Date as of which to answer; default: the data's end.")
]
Purpose = Annotated[
    str | None, typer.Option(help="Keep only customers who consent to it, such as marketing.")
]
Channel = Annotated[str | None, typer.Option(help="Channel of that consent.")]


@app.command()
def package(
    model: Model,
    version: Version = None,
    store: Store = None,
    registry: Registry = None,
    dry_run: DryRun = False,
    json_: Json = False,
) -> None:
    """Make a Bento of an approved version, after its recorded answers were replayed.

    Verifies the bundle's signature, replays the golden rows in process and over HTTP, signs the
    release and builds the Bento without the network. A Bento that is there and whole is recognised.
    """
    with answering(store, registry) as place:
        import json

        from serving.package import package as make

        made = make(place, model, version, dry_run=dry_run)
        if json_:
            say(json.dumps({"bento": made.bento, "bundle": str(made.bundle), "fresh": made.fresh}))
        elif not dry_run:
            say([f"Bento: {made.bento}", f"serve it: python -m serving serve {model}"])


@app.command()
def serve(
    model: Annotated[
        str | None, typer.Argument(help="Registered model, such as churn.", show_default=False)
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="All packaged champions, in one process.")
    ] = False,
    each: Annotated[
        bool, typer.Option(help="All of them, a process each, on ports that follow.")
    ] = False,
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 = any that is free.", min=0, max=65535)
    ] = 3000,
    host: Annotated[
        str, typer.Option(help="IP address; any but loopback needs API keys.")
    ] = "127.0.0.1",
    log_share: Annotated[
        float, typer.Option(help="Share of requests kept in the prediction log.", min=0, max=1)
    ] = 1.0,
    certificate: Annotated[
        Path | None, typer.Option(help="Certificate chain in PEM: connections are encrypted.")
    ] = None,
    private_key: Annotated[Path | None, typer.Option(help="Its private key in PEM.")] = None,
    notice: Annotated[
        float, typer.Option(help="Seconds from not being ready to the listener's end.", min=0)
    ] = 1.0,
    store: Store = None,
    registry: Registry = None,
    dry_run: DryRun = False,
) -> None:
    """Serve the packaged champion until Ctrl-C.

    POST /predict and /explain take {"rows": [{column: number or null, ...}]}, GET /model tells what
    is served, /docs is a page to try it on. Other machines may ask only where API keys (see `key`)
    or tokens of an issuer are configured.
    """
    with answering(store, registry) as place:
        from features.errors import ConfigError
        from serving.address import Tls
        from serving.champions import keep
        from serving.packaged import everything, packaged
        from serving.serve import Server

        if (certificate is None) != (private_key is None):
            raise ConfigError("--certificate and --private-key go together")
        tls = Tls(certificate, private_key) if certificate and private_key else None
        if (model is None) != (all_ or each):
            raise ConfigError("name a model, or say --all or --each")
        tags = [packaged(place, model)] if model else everything(place)
        groups = [[tag] for tag in tags] if each else [tags]
        if dry_run:
            for k, (first, *others) in enumerate(groups):
                say(f"would serve {' '.join([first, *others])} on {host} port {port + k}")
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop the service in order too
        hung_up, servers = threading.Event(), list[Server]()
        signal.signal(signal.SIGHUP, lambda *_: hung_up.set())
        try:
            for k, (first, *others) in enumerate(groups):
                own = port + k if port else 0
                server = Server(place, first, host, own, log_share, tls, notice, others)
                servers.append(server)
            for server in servers:
                server.wait_ready()
                names = [f"/{name}" for name in server.models] if len(server.models) > 1 else [""]
                docs = ", ".join(f"{server.address}{name}/docs" for name in names)
                say(f"{server.tag} answers at {server.address}, docs at {docs}")
            say(f"Ctrl-C stops it, kill -HUP {os.getpid()} swaps champions in; {servers[0].log}")
            keep(servers, place, hung_up)
        finally:
            for server in servers:
                server.stop()


@app.command()
def key(
    scopes: Annotated[
        str, typer.Option(help="What it may do: predict,read,metrics; all if not given.")
    ] = "",
    comment: Annotated[str, typer.Option(help="Whose it is, for the file.")] = "",
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Make an API key, add its hash to the key file, and show it once.

    Services read the file when they start: `kill -HUP` of a running one takes keys in, too. To
    withdraw a key, delete its line.
    """
    with answering(store, registry) as place:
        from serving import keys

        made = keys.add(place.keys, [word for word in scopes.split(",") if word], comment)
        say(made)


@app.command()
def score(
    model: Model,
    out: Out,
    version: Version = None,
    as_of: AsOf = None,
    reasons: Annotated[
        int, typer.Option(help="Reasons in words for each customer.", min=0, max=20)
    ] = 0,
    purpose: Purpose = None,
    channel: Channel = None,
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Answer for every customer that the approved version's question asks about, in one file.

    Customers appear under the source's own ids. A killed call goes on where it stopped.
    """
    with answering(store, registry, data_dir) as place:
        from serving.score import score as answer

        done = answer(
            place,
            model,
            out,
            number=version,
            as_of=as_of,
            reasons=reasons,
            purpose=purpose,
            channel=channel,
        )
        say(
            f"{done.customers} customers, version {done.version}, as of {done.as_of:%Y-%m-%d}: "
            f"{done.path}"
        )
        if purpose:
            say(f"{done.withheld} customers without consent to {purpose!r} are left out")


@app.command()
def audience(
    model: Model,
    product: Annotated[str, typer.Argument(help="The source's id of an item.", show_default=False)],
    out: Out,
    size: Annotated[int, typer.Option(help="At most so many customers.", min=20)] = 200,
    who: Annotated[
        str, typer.Option(help="Who never had it (discovery), who had it (repeat), or all.")
    ] = "discovery",
    version: Version = None,
    as_of: AsOf = None,
    purpose: Purpose = None,
    channel: Channel = None,
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Write the customers who should hear of an item, by an approved recommender."""
    with answering(store, registry, data_dir) as place:
        from typing import cast, get_args

        from features.errors import ConfigError
        from serving.audience import write_audience
        from training.recommend.audience import Who

        if who not in get_args(Who):
            raise ConfigError(f"--who {who!r}: expected one of {', '.join(get_args(Who))}")
        done = write_audience(
            place,
            model,
            product,
            out,
            size=size,
            who=cast(Who, who),
            number=version,
            as_of=as_of,
            purpose=purpose,
            channel=channel,
        )
        say(
            f"{done.customers} customers for {product}, version {done.version}, "
            f"as of {done.as_of:%Y-%m-%d}: {done.path}"
        )


@app.command()
def report(
    model: Model,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and its tables; default: the store.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Version; the newest with a log.")] = None,
    days: Annotated[int, typer.Option(help="So many of the newest logged days.", min=1)] = 30,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Show what a version answered: volume, drift against the test's customers, matured labels.

    Reads the prediction log and the record alone. `python -m training ledger` evaluates labels that
    have matured. Ends with code 1 if there are alerts.
    """
    with answering(store, registry) as place:
        from serving.report import report as make

        made = make(place, model, number=version, days=days, out=out)
        say([*made.alerts, f"page: {made.page}"])
        if made.alerts:
            raise SystemExit(1)


@app.command()
def demo(
    pipelines: Annotated[list[str], typer.Argument(help="Pipelines to run, such as churn.")],
    source: Annotated[str, typer.Option(help="Source in configs/data.")] = "simulated",
    set_: Set = [], data_dir: DataDir = None, store: Store = None, registry: Registry = None,  # noqa: B006
) -> None:  # fmt: skip
    """Do the whole job: raw file, features, model, review, approval, Bento, answers over HTTP.

    Runs the commands that a user would type, shows them, and stops the service that it started.
    """
    with answering(store, registry, data_dir) as place:
        from serving.demo import demo as run
        from serving.demo import summary

        say(summary(run(place, pipelines, source, set_)))


if __name__ == "__main__":
    app(prog_name="python -m serving")
