"""How well a file fits a canonical table: which of its columns say what, and what it lacks."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from features import columns as c
from features.canonical import CANONICAL
from features.drafted import FITS, fits, loadable
from features.feeds import REF, UNIT_PRICE, targets
from features.guessing import CONSTANTS, KNOWN, WORDS, file_likeness, likeness
from features.profiling import Look, Looked

LEAST = 0.4
"""Of a name's likeness, to be taken for it."""
UNDATED_TABLES = ("products", "customers", "outcomes")
"""May be of a file without a clock; the draft then asks for its date."""


@dataclass(frozen=True)
class Match:
    """What a file brings of a table."""

    looked: Looked
    table: str
    columns: Mapping[str, Look]
    """Canonical column -> column of the file."""
    guessed: Mapping[str, str]
    """Canonical column that no name speaks for -> why that column of the file was taken."""
    stand_ins: Mapping[str, dict[str, Any]]
    """Canonical column that no column of the file is -> what may be declared in its place."""

    @cached_property
    def missing(self) -> list[str]:
        """What the table cannot do without, and the file does not bring."""
        missing = [
            name for name, target in targets(CANONICAL[self.table]).items()
            if target.required and name not in self.columns and name not in self.stand_ins
            and not (self.table in UNDATED_TABLES and name == c.EVENT_TIME)
        ]  # fmt: skip
        if self.table == "order_lines" and not {UNIT_PRICE, c.AMOUNT} & self.columns.keys():
            missing.append(f"{UNIT_PRICE} or {c.AMOUNT}")
        return missing

    @property
    def says(self) -> bool:
        """Whether the file has all that the table needs, and says something with it.

        A key alone says nothing: that is a list of something else that names customers or products.
        """
        named = self.columns.keys() - self.guessed.keys()
        dated = self.table != "products" and c.EVENT_TIME in named
        said = dated or len(self.columns.keys() - {c.EVENT_TIME}) >= 2
        return not self.missing and (said or bool(self._file))

    @cached_property
    def score(self) -> float:
        """How likely the table is: likeness of names, required ones twice, less what lacks one."""
        wanted = targets(CANONICAL[self.table])
        named = {n: k for n, k in self.columns.items() if n not in self.guessed}
        return (
            1.5 * self._file
            + sum(
                likeness(k.name, WORDS[self.table][n]) * (2 if wanted[n].required else 1)
                for n, k in named.items()
            )
            - sum(
                target.required and name not in named and name not in self._purchase
                for name, target in wanted.items()
            )
        )

    @property
    def _purchase(self) -> Collection[str]:
        """What purchases may do without: who, when and how much, again and again, are enough."""
        return self.stand_ins if self.table == "order_lines" else ()

    @property
    def _file(self) -> float:
        return file_likeness(self.looked.path.name.partition(".")[0], self.table)


def matched(looked: Looked, table: str) -> Match:
    """What ``looked`` brings of ``table``: by names, then by what columns hold."""
    wanted = targets(CANONICAL[table])
    pairs = sorted(
        (
            (-likeness(k.name, words), order, k.name, target)
            for order, (target, words) in enumerate(WORDS[table].items())
            for k in looked.columns.values()
            if k.filled and likeness(k.name, words) >= LEAST and fits(k, wanted[target])
        )
    )
    columns: dict[str, Look] = {}
    taken: set[str] = set()
    for _, _, name, target in pairs:
        if target not in columns and name not in taken:
            columns[target] = looked.columns[name]
            taken.add(name)
    if table == "customers" and c.EVENT_TIME not in columns and "signup_time" in columns:
        columns[c.EVENT_TIME] = columns["signup_time"]
    guessed: dict[str, str] = {}
    times = [
        k for k in looked.columns.values()
        if k.name not in taken and k.timed >= FITS and loadable(k)
        and likeness(k.name, KNOWN) < LEAST
    ]  # fmt: skip
    if table not in UNDATED_TABLES and c.EVENT_TIME not in columns and times:
        columns[c.EVENT_TIME] = times[0]
        there = ", ".join(k.name for k in times)
        guessed[c.EVENT_TIME] = f"no column is called like a clock; of times there are: {there}"
    mail = next((k for k in looked.columns.values() if k.share("email") >= FITS), None)
    if REF in WORDS[table] and REF not in columns and mail is not None:
        columns[REF] = mail
        guessed[REF] = "no column numbers the customers: the e-mail address does"
    return Match(looked, table, columns, guessed, _stand_ins(table, columns))


def _stand_ins(table: str, columns: Mapping[str, Look]) -> dict[str, dict[str, Any]]:
    """What may be declared where no column says it."""
    constants = {n: value for (of, n), value in CONSTANTS.items() if of == table}
    found: dict[str, dict[str, Any]] = {
        n: {"constant": value} for n, value in constants.items() if n not in columns
    }
    who, when = columns.get(REF), columns.get(c.EVENT_TIME)
    # A file that names each customer once is no list of purchases.
    if table == "order_lines" and who is not None and when is not None and not who.unique:
        parts: dict[str, dict[str, Any]] = {
            c.ORDER: {"from": [who.name, when.name]},
            c.PRODUCT: {"constant": "any"},
            c.QUANTITY: {"constant": "1"},
        }
        found |= {name: part for name, part in parts.items() if name not in columns}
    return found
