"""Whose rows are whose, as known at a time: accounts found to be one person are one from then on.

Rows carry the account they came with. A row of ``merges`` says that from its clocks on an account
belongs to another; one that names itself takes that back. Features use what was known before the
cutoff. Labels use what is known at maturity, told to the customers of the cutoff: a purchase by an
account that is linked later counts for everyone who is then the same person.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

import ibis
import ibis.expr.types as ir

from features import columns as c
from features.canonical import CANONICAL

OWNER = "owner"


def owners(merges: ir.Table, moment: datetime) -> ir.Table:
    """Account (``customer_id``) and ``owner``, of the accounts that are not their own owner."""
    at = ibis.literal(moment, type="timestamp(6)")
    known = merges.filter((merges[c.EVENT_TIME] < at) & (merges[c.KNOWN_TIME] < at))
    order = [known[c.EVENT_TIME].desc(), known[c.KNOWN_TIME].desc(), known[c.ROW].desc()]
    place = ibis.row_number().over(ibis.window(group_by=c.CUSTOMER, order_by=order))
    last = known.mutate(place=place)
    last = last.filter((last.place == 0) & (last[c.OTHER] != last[c.CUSTOMER]))
    return last.select(c.CUSTOMER, **{OWNER: last[c.OTHER]})


def owned(tables: Mapping[str, ir.Table], owners: ir.Table) -> dict[str, ir.Table]:
    """The tables with every customer replaced by the owner; the merges are used up."""
    mapped = {}
    for name, table in tables.items():
        for column in (c.CUSTOMER, c.OTHER):
            if column in CANONICAL[name]:
                table = _mapped(table, column, owners)
        mapped[name] = table
    del mapped["merges"]
    return mapped


def surviving(rows: ir.Table, moment: datetime, oldest: Collection[str]) -> ir.Table:
    """Rows of ``customers`` known at ``moment``, each with what the person's accounts said by then.

    Of each attribute the newest value that is not missing survives, or the oldest where the source
    says so: a loyalty card that knows no birth year does not take it from the account.

    Parameters
    ----------
    rows
        The table by owner.
    oldest
        Attributes of which the first word counts.
    """
    at = ibis.literal(moment, type="timestamp(6)")
    known = rows.filter((rows[c.EVENT_TIME] < at) & (rows[c.KNOWN_TIME] < at))
    order = [known[k] for k in (c.EVENT_TIME, c.KNOWN_TIME, c.ROW)]
    so_far = ibis.window(group_by=c.CUSTOMER, order_by=order, preceding=None, following=0)
    kept = (c.CUSTOMER, c.EVENT_TIME, c.KNOWN_TIME, c.ROW)
    names = [name for name in known.columns if name not in kept]
    # The number of values so far: rows of one number have one value among them.
    told = known.mutate(**{f"_{name}": known[name].count().over(so_far) for name in names})
    values = {}
    for name in names:
        number = told[f"_{name}"]
        if name in oldest:
            first = ibis.ifelse(number == 1, told[name], ibis.null(told[name].type()))
            whose = ibis.window(group_by=c.CUSTOMER, order_by=[told[k.get_name()] for k in order],
                                preceding=None, following=0)  # fmt: skip
            values[name] = first.max().over(whose)
        else:
            values[name] = told[name].max().over(ibis.window(group_by=[c.CUSTOMER, number]))
    return told.mutate(**values).select(*known.columns)


def told_to(table: ir.Table, then: ir.Table, later: ir.Table) -> ir.Table:
    """The rows of accounts for each customer of then who is the same person later.

    Parameters
    ----------
    then, later
        :func:`owners` at the cutoff and at maturity.
    """
    rows = _mapped(table.mutate(account=table[c.CUSTOMER]), "account", later)
    people = then.select(customer=then[OWNER]).union(later.select(customer=later[c.CUSTOMER]))
    people = people.union(later.select(customer=later[OWNER])).distinct()
    absorbed = people.anti_join(then, people.customer == then[c.CUSTOMER])
    persons = _mapped(absorbed.mutate(person=absorbed.customer), "person", later)
    joined = rows.left_join(persons, rows.account == persons.person)
    customer = ibis.coalesce(joined.customer, joined[c.CUSTOMER])
    return joined.mutate(**{c.CUSTOMER: customer}).select(*table.columns)


def _mapped(table: ir.Table, column: str, owners: ir.Table) -> ir.Table:
    renamed = owners.select(_account=owners[c.CUSTOMER], _owner=owners[OWNER])
    joined = table.left_join(renamed, table[column] == renamed["_account"])
    owner = ibis.coalesce(joined["_owner"], joined[column])
    return joined.mutate(**{column: owner}).select(*table.columns)
