"""The text of a drafted YAML: flow style, with doubts and counts as comments above their lines."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from features.drafted import Drafted, unloaded
from features.drafting import nearest
from features.profiling import Looked

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.%*/-]*( [A-Za-z0-9_.%*/-]+)*")
WORDS_OF_YAML = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
Tables = Mapping[str, Sequence[Drafted]]


def draft_text(
    head: Mapping[str, tuple[str, str]],
    values: Mapping[str, Any],
    tables: Tables,
    seen: Sequence[Looked],
) -> str:
    """The YAML of a draft.

    Parameters
    ----------
    head
        Key of the source -> value and doubt.
    values
        The whole declaration.
    tables
        Canonical table -> what was drafted of it, file by file.
    seen
        All files.
    """
    lines = ["# A draft. Remarks marked ? ask for a person; counts are of the records looked at."]
    for key, (value, doubt) in head.items():
        lines.append(f"{key}: {_plain(value)}{f'  # ? {doubt}' if doubt else ''}")
    for table, drafts in tables.items():
        lines += ["", f"{table}:"]
        for drafted in drafts:
            looked = drafted.looked
            part = "all" if looked.sample.whole else f"about {looked.sample.share:.1%}"
            lines.append(
                f"  # {looked.path.name}: {looked.rows + looked.broken} records looked at, {part} "
                "of the file"
            )
            lines += [f"  # ? {note}" for note in drafted.doubts.get("", [])]
        declared = values[table]
        lines.append("  owner: unnamed  # ? who answers for it")
        lines.append("  steward: unnamed  # ? who looks after its data")
        lines += _keys(declared, drafts[0], "  ", ("owner", "steward", "parts"))
        for (part, feed), drafted in zip(declared.get("parts", {}).items(), drafts, strict=False):
            if part == next(iter(declared["parts"])):
                lines.append("  parts:")
            lines += [f"    {part}:", *_keys(feed, drafted, "      ", ())]
    lines += _unloaded(tables, seen)
    return "\n".join(lines) + "\n"


def _keys(
    values: Mapping[str, Any], drafted: Drafted, stem: str, left_out: Sequence[str]
) -> list[str]:
    lines = []
    for key, value in values.items():
        if key in left_out:
            continue
        if key in ("columns", "rules", "checks"):
            lines.append(f"{stem}{key}:")
            for name, inner in value.items():
                lines += [f"{stem}  # ? {note}" for note in drafted.doubts.get(name, [])]
                lines.append(f"{stem}  {name}: {_plain(inner)}")
        else:
            lines.append(f"{stem}{key}: {_plain(value)}")
    return lines


def _unloaded(tables: Tables, seen: Sequence[Looked]) -> list[str]:
    """What no table reads, file by file."""
    drafts = sorted(
        (d.looked.path, name) for group in tables.values() for d in group for name in d.used
    )
    used = {path: {name for _, name in pairs} for path, pairs in groupby(drafts, lambda d: d[0])}
    lines = []
    for looked in seen:
        notes = list(unloaded(looked, used.get(looked.path, set())))
        if looked.path not in used:
            near = nearest(looked)
            lines += ["", f"# ? {looked.path.name} is like no table{near and f', {near}'}; it has"]
        elif notes:
            lines += ["", f"# Not loaded of {looked.path.name}:"]
        lines += [f"#   {note}" for note in notes]
    return lines


def _plain(value: Any) -> str:
    """``value`` in the flow style of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_plain(k)}: {_plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        if PLAIN.fullmatch(value) and value.lower() not in WORDS_OF_YAML:
            return value
        return "'" + value.replace("'", "''") + "'" if value.isprintable() else json.dumps(value)
    return json.dumps(value)
