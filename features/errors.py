"""Errors that a person can act on.

Each carries one message that names the file, table, column, row count or key at fault, what was
expected and what to do. The doors print the message alone and exit with code 2.
"""

from collections.abc import Iterable


class PerennialError(Exception):
    """Base of every error that is the input's fault rather than the program's."""

    @classmethod
    def listing(cls, heading: str, problems: Iterable[str]) -> "PerennialError":
        """One error that shows all ``problems`` at once, one a line."""
        return cls("\n".join([heading, *(f"  - {problem}" for problem in problems)]))


class ConfigError(PerennialError):
    """A key, a value or a name in a YAML file or on the command line is wrong."""


class DataError(PerennialError):
    """A file, a table or a stored artefact does not hold what was declared."""


class NotApproved(PerennialError):
    """A version was asked for that no reviewer has approved."""
