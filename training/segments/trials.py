"""What trials of an interrupted study found: kept until the run is published.

A study proposes the same again, because each trial has a seed of its own and depends on what came
before and nothing else. So it is enough to keep what trials found: it is asked anew from the first
trial on, and what was found already costs nothing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Found = dict[str, Any]


@dataclass(frozen=True)
class Trials:
    """One line of JSON for each trial; a line that was cut off does not count."""

    file: Path | None
    """None: nothing is kept."""

    def found(self, part: str, look: Callable[[], Found]) -> Found:
        """What a trial of ``part`` found before, or finds now."""
        known = self._known()
        if part in known:
            return known[part]
        found: Found = json.loads(json.dumps(look(), default=float))
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write("\n" + json.dumps([part, found]))
        return found

    def _known(self) -> dict[str, Found]:
        if self.file is None or not self.file.is_file():
            return {}
        known = {}
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                part, found = json.loads(line)
            except ValueError:
                continue  # empty, or cut off when the run was killed
            known[part] = found
        return known

    def forget(self) -> None:
        """The run is published: nothing is to be resumed."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)
