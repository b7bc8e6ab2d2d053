"""Who may ask for what: API keys and tokens of an issuer, each with scopes; no value is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving import keys
from serving.keys import ALL, Headers, Key
from serving.tokens import Tokens, open_tokens


@dataclass(frozen=True)
class Caller:
    """Somebody who was recognised."""

    name: str
    """Tells callers apart: the hash of the key, or of issuer and subject; for the audit log."""
    scopes: frozenset[str]


ANYBODY = Caller("", ALL)
"""Who asks where neither keys nor tokens are configured, on loopback alone."""


class Access:
    """Tells who sent a request.

    Parameters
    ----------
    known
        SHA-256 of each API key and its scopes; empty = no key fits.
    tokens
        What recognises tokens; None = none is taken.
    """

    def __init__(self, known: Mapping[bytes, frozenset[str]], tokens: Tokens | None = None) -> None:
        self._known = [Key(digest, scopes) for digest, scopes in known.items()]
        self._tokens = tokens

    def caller(self, headers: Headers) -> Caller | None:
        """Who sent the headers; None where that cannot be told."""
        sent = keys.sent(headers)
        if not sent:
            return None
        if self._tokens is not None and (found := self._tokens.read(sent)) is not None:
            return Caller(*found)
        key = keys.find(sent, self._known)
        return None if key is None else Caller(key.digest.hex(), key.scopes)


def open_access(folder: Path) -> Access | None:
    """What the keys folder and the environment configure; None = anybody on loopback may ask.

    Raises
    ------
    ConfigError
        If what is configured cannot be read: a service meant to be locked does not start open.
    """
    known, tokens = keys.read_keys(folder), open_tokens(folder)
    if known is None and tokens is None:
        return None
    return Access(known or {}, tokens)


def missing(caller: Caller, scopes: Sequence[str]) -> list[str]:
    """Scopes that the caller lacks."""
    return [scope for scope in scopes if scope not in caller.scopes]
