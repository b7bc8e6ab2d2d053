"""The door for what a customer may ask: ``python -m features subject``."""

from pathlib import Path
from typing import Annotated

import typer

from features.door import DataDir, Registry, Set, Store, answering, door, say
from features.source_door import SourceName

subject = door("What a customer may ask for: to be told what is held of them, or to be erased.")

Customer = Annotated[str, typer.Option(help="The customer's number in the source.")]


@subject.command()
def export(
    source: SourceName,
    customer: Customer,
    out: Annotated[Path, typer.Option(help="New folder for what is held of the customer.")],
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Write all that is held of a customer of SOURCE, and a map of where it is.

    Tables, quarantine, features, profiles, answers and raw records; what erase would find.
    """
    with answering(store, registry, data_dir) as place:
        from features.disclosure import MAP, disclose
        from features.settings import override
        from features.sources import load_source
        from features.tables import raw_folder
        from features.traces import see_ref

        see_ref(customer)
        declared = load_source(place, source, override({}, set_))
        held = disclose(place, declared, raw_folder(place, declared), customer, out)
        say([f"{row.place}: {row.records} records, {row.written}" for row in held.itertuples()])
        say(f"written: {out}; {MAP} says where each is held; hand the folder on, then delete it")


@subject.command()
def erase(
    source: SourceName,
    customer: Customer,
    set_: Set = [],  # noqa: B006
    data_dir: DataDir = None,
    store: Store = None,
    registry: Registry = None,
) -> None:
    """Erase a customer of SOURCE from the store, and keep them out of every later build.

    Prints what was removed, and what only its owner can erase: lines of raw files, model versions.
    Exit code 1 if the store still names the customer.
    """
    with answering(store, registry, data_dir) as place:
        from features.erasure import ERASED, bury, clear, receipt
        from features.settings import override
        from features.sources import load_source
        from features.tables import build_tables, raw_folder
        from features.traces import linked_refs, see_ref

        see_ref(customer)
        declared = load_source(place, source, override({}, set_))
        others = linked_refs(place, declared, customer)
        number = bury(place, declared, customer)
        removed = clear(place, customer, number)
        stored = build_tables(place, declared)
        filtered = stored.facts["account"]["filtered"].get(ERASED, 0)
        found = receipt(place, declared, raw_folder(place, declared), customer, number, removed)
        say([f"removed from the store: {name}, {n} traces" for name, n in found.removed])
        say(
            f"kept out of the new tables: {filtered} records; they are in {stored.published.folder}"
        )
        say([f"to erase by their owner: {name}, {lines}" for name, lines in found.elsewhere])
        say(
            "to train again: model versions that were trained before; see python -m training review"
        )
        say([f"STILL NAMED in {path}" for path in found.left])
        if found.left:
            raise typer.Exit(1)
        say("verified: no file of the store names the customer")
        say([f"the same person: {ref}; erase it, too" for ref in others])
