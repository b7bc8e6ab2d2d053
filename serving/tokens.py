"""Tokens of an issuer (JWT, RFC 7519): signature, issuer, audience and times are checked here.

No network is asked: the issuer's public keys lie in a file, a JWKS (RFC 7517) or one key in PEM. A
JWKS that was replaced is read again when a token names a key that is not known yet.
"""

import hashlib
import json
import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from features.errors import ConfigError
from features.settings import Strict
from serving.keys import ALL

if TYPE_CHECKING:
    from jwt import PyJWK

ENV, FILE = "PERENNIAL_TOKENS_FILE", "tokens.yaml"
MOST_KEPT = 1_000
"""Tokens whose check is remembered until they expire."""
MAX_BYTES = 8_192
LEEWAY = 30.0
"""Seconds that the clocks of issuer and service may differ."""


class Issuer(Strict):
    """Whose tokens are taken, as in the YAML."""

    issuer: str
    audience: str
    keys: Path
    """JWKS (``.json``) or public key in PEM; relative to the YAML."""
    algorithms: Annotated[
        tuple[Literal["RS256", "PS256", "ES256", "EdDSA"], ...], Field(min_length=1)
    ] = ("RS256",)
    """Asymmetric ones alone: who can check tokens cannot make them."""
    scopes: str = "scope"
    """Claim with the scopes: words parted by blanks, or a list."""


class Tokens:
    """Recognises tokens.

    Raises
    ------
    ConfigError
        If the public keys cannot be read.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._read()
        self._kept: OrderedDict[bytes, tuple[float, str, frozenset[str]]] = OrderedDict()

    def _read(self) -> None:
        from jwt import PyJWK, PyJWKSet, PyJWTError
        from jwt.algorithms import get_default_algorithms

        path = self._issuer.keys
        try:
            text, self._changed = path.read_text(), path.stat().st_mtime_ns
            if path.suffix == ".json":
                found = PyJWKSet.from_dict(json.loads(text)).keys
            else:
                kind = self._issuer.algorithms[0]
                public = get_default_algorithms()[kind].prepare_key(text)
                made = get_default_algorithms()[kind].to_jwk(public, as_dict=True)
                found = [PyJWK(made, algorithm=kind)]
        except (OSError, ValueError, TypeError, PyJWTError) as error:
            raise ConfigError(
                f"{path}: expected the issuer's public keys, a JWKS in .json or one key in PEM: "
                f"{type(error).__name__}"
            ) from None
        self._keys: dict[str | None, PyJWK] = {key.key_id: key for key in found}

    def read(self, token: bytes) -> tuple[str, frozenset[str]] | None:
        """Who sent the token, as a hash, and what it may do; None where it is not to be trusted."""
        if token.count(b".") != 2 or len(token) > MAX_BYTES:
            return None
        digest = hashlib.sha256(token).digest()
        ends, name, scopes = self._kept.get(digest, (0.0, "", frozenset()))
        if time.time() < ends:
            return name, scopes
        claims = self._claims(token)
        if claims is None:
            return None
        said = claims.get(self._issuer.scopes, ())
        words = said.split() if isinstance(said, str) else said
        scopes = ALL.intersection(word for word in words if isinstance(word, str))
        name = hashlib.sha256(f"{claims['iss']} {claims['sub']}".encode()).hexdigest()
        self._kept[digest] = float(claims["exp"]), name, scopes
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return name, scopes

    def _claims(self, token: bytes) -> dict[str, Any] | None:
        import jwt

        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token, key.key, algorithms=list(self._issuer.algorithms),
                issuer=self._issuer.issuer, audience=self._issuer.audience, leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return claims

    def _key(self, named: str | None) -> "PyJWK | None":
        """The public key of that id; the only one where a token names none."""
        if named not in self._keys and self._issuer.keys.suffix == ".json":
            try:
                if self._issuer.keys.stat().st_mtime_ns != self._changed:
                    self._read()
            except (OSError, ConfigError):
                return None  # the issuer is about to write the file: the token can be sent again
        if len(self._keys) == 1 and (named is None or None in self._keys):
            return next(iter(self._keys.values()))
        return self._keys.get(named)


def open_tokens(folder: Path) -> Tokens | None:
    """What ``PERENNIAL_TOKENS_FILE`` or ``<keys>/tokens.yaml`` configures; None = no tokens.

    Raises
    ------
    ConfigError
        If a configured file is missing or not as :class:`Issuer` describes.
    """
    named = os.environ.get(ENV)
    path = Path(named) if named else folder / FILE
    if not named and not path.exists():
        return None
    try:
        issuer = Issuer(**yaml.safe_load(path.read_text()))
    except (OSError, TypeError, yaml.YAMLError, ValidationError) as error:
        told = (
            ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
            if isinstance(error, ValidationError)
            else type(error).__name__
        )
        raise ConfigError(
            f"{path}: expected issuer, audience and keys, as docs/serving.md says: {told}"
        ) from None
    return Tokens(issuer.model_copy(update={"keys": path.parent / issuer.keys}))
