"""What the three doors share: options, where things live, log lines, errors and exit codes."""

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import PerennialError

if TYPE_CHECKING:
    from features.settings import Workspace

Config = Annotated[
    Path, typer.Argument(help="Pipeline YAML, such as configs/churn.yaml.", show_default=False)
]
Set = Annotated[
    list[str],
    typer.Option(
        "--set", help="Override a setting: a.b=value. Can be repeated.", show_default=False
    ),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder with raw files; or PERENNIAL_DATA_DIR.")
]
Store = Annotated[
    Path | None,
    typer.Option("--store", help="What can be made again; or PERENNIAL_STORE; default store/."),
]
Registry = Annotated[
    Path | None,
    typer.Option(
        "--registry", help="MLflow, artifacts, record; or PERENNIAL_REGISTRY; default registry/."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as one line of JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def door(help: str) -> typer.Typer:
    """An empty command-line door."""
    return typer.Typer(
        help=help,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


@contextmanager
def answering(
    store: Path | None = None, registry: Path | None = None, data: Path | None = None
) -> Iterator["Workspace"]:
    """The workspace of a command; what a person can mend ends it with code 2 and one message."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("perennial").setLevel(logging.INFO)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    # Idle OpenMP threads sleep: spinning ones cost minutes where the cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.umask(0o077)
    try:
        from features.settings import Workspace  # slow, and `--help` needs none of it

        yield Workspace.locate(store=store, registry=registry, data=data)
    except PerennialError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
    except Exception as error:
        told = _of_the_machine(error)
        if told is None:
            raise
        typer.echo(f"error: {told}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        typer.echo("stopped; run the same command again to go on", err=True)
        raise SystemExit(130) from None


def _of_the_machine(error: Exception) -> str | None:
    """What a person can mend on the machine, in words; None where the program is at fault."""
    again = "what was finished is whole; run the same command again"
    first = (str(error).splitlines() or [""])[0][:300]
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'the disk'}: no space is left: free some; {again}"
    if isinstance(error, PermissionError):
        return f"{error.filename}: may not be read or written by this user; {again}"
    # By name: this package knows no tracker and no search.
    if type(error).__module__.partition(".")[0] in ("mlflow", "sqlalchemy", "sqlite3"):
        return (
            f"a database or server of the registry does not answer as it should ({first}); {again}"
        )
    return None


def say(lines: str | list[str], to: Callable[[str], None] = typer.echo) -> None:
    """Print what a command has to say."""
    for line in [lines] if isinstance(lines, str) else lines:
        to(line)
