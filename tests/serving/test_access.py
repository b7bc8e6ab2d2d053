"""Who may do what: every route with every kind of caller, by keys and by tokens of an issuer."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from features.errors import ConfigError
from serving import base, keys, tokens
from serving.access import Access, open_access
from serving.guard import Guard, Rule
from tests.serving.asgi import JSON, Reply, ask
from tests.serving.echo import refused

ISSUER, AUDIENCE = "https://login.example", "perennial"
NOW, DAY = int(time.time()), 86_400  # tokens of a day, as these tests may run long after this line
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = PRIVATE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
FORM = [(b"content-type", b"application/x-www-form-urlencoded")]
SCOPES: dict[str, frozenset[str]] = {
    "all": keys.ALL, "none": frozenset(), **{word: frozenset((word,)) for word in sorted(keys.ALL)}
}  # fmt: skip


class Answers:
    """An app that answers everything that reaches it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """204."""
        del scope, receive
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def jwk(private: Any, kid: str) -> dict[str, Any]:
    """The public half, as an issuer publishes it."""
    kind = jwt.algorithms.RSAAlgorithm if hasattr(private, "private_numbers") else None
    assert kind is not None
    made: dict[str, Any] = json.loads(kind.to_jwk(private.public_key()))
    return made | {"kid": kid, "alg": "RS256", "use": "sig"}


def token(private: Any = PRIVATE, kid: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
    """A token that is good but for what is said."""
    said = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": NOW + DAY, "scope": "predict read",
        **claims,
    }  # fmt: skip
    kept = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(kept, private, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A keys folder that takes tokens of an issuer and, in each set of scopes, a key."""
    for variable in (keys.ENV, tokens.ENV):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk(PRIVATE, "one")]}))
    said = {"issuer": ISSUER, "audience": AUDIENCE, "keys": "jwks.json"}
    (tmp_path / tokens.FILE).write_text(yaml.safe_dump(said))
    return tmp_path


def bearer(text: str) -> list[tuple[bytes, bytes]]:
    """Headers that carry it."""
    return [(b"authorization", b"Bearer " + text.encode())]


def asked(guard: Guard, path: str, rule: Rule, headers: Any) -> Reply:
    """A request that nothing but its caller can be wrong with."""
    method = rule.methods[0]
    kind = JSON if rule.body else ()
    return ask(guard, method, path, b"{}" if rule.body else b"", [*kind, *headers])


@pytest.mark.parametrize("path", sorted(base.RULES))
@pytest.mark.parametrize("way", ["key", "token"])
def test_the_route_table_is_what_happens(path: str, way: str, folder: Path) -> None:
    """Every route with every set of scopes, and with nobody: 204, 401 or 403 as the table says."""
    known = {
        hashlib.sha256(name.encode()).digest(): scopes
        for name, scopes in SCOPES.items()
        if way == "key"
    }
    found = open_access(folder)
    assert found is not None
    guard = Guard(Answers(), base.RULES, Access(known, found._tokens))
    rule = base.RULES[path]
    for headers in ([], bearer("wrong"), bearer(token(OTHER)), [(b"x-api-key", b"")]):
        reply = asked(guard, path, rule, headers)
        assert reply.status == 204 if rule.open else refused(reply) == (401, "unauthorized")
    for name, scopes in SCOPES.items():
        sent = name if way == "key" else token(scope=" ".join(scopes))
        reply = asked(guard, path, rule, bearer(sent))
        if rule.open or not rule.scope or rule.scope in scopes:
            assert reply.status == 204
        else:
            assert refused(reply) == (403, "forbidden")
            assert rule.scope in reply.json["message"]


def test_every_route_that_tells_something_has_a_scope() -> None:
    """What is open says nothing of customers; all else names what it takes."""
    bare = {path for path, rule in base.RULES.items() if not rule.scope}
    assert bare == {"/healthz", "/livez", "/readyz"}
    assert {path for path, rule in base.RULES.items() if rule.open} == {"/livez", "/readyz"}


UNSIGNED = jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": NOW + DAY}, "", "none")


@pytest.mark.parametrize(
    "sent",
    [
        token(exp=NOW - DAY),
        token(nbf=NOW + DAY),
        token(iss="https://login.other"),
        token(aud="other"),
        token(sub=None),
        token(exp=None),
        token(OTHER),
        token(kid="two"),
        token()[:-4] + "AAAA",
        UNSIGNED,
        token(hashlib.sha256(PEM).hexdigest(), algorithm="HS256"),
        token(PRIVATE, algorithm="PS256"),
        "a.b.c",
        "x" * 9_000 + ".a.b",
    ],
)
def test_tokens_that_are_not_to_be_trusted(sent: str, folder: Path) -> None:
    """Times, issuer, audience, signature, key and algorithm are all checked."""
    access = open_access(folder)
    assert access is not None
    assert access.caller(bearer(sent)) is None
    good = access.caller(bearer(token(scope=["read", "other", 7])))
    assert good is not None
    assert good.scopes == {"read"}
    assert good == access.caller(bearer(token(scope=["read"]))), "told by issuer and subject"


def test_a_remembered_token_expires(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its check is kept no longer than it says itself."""
    access, sent = open_access(folder), bearer(token())
    assert access is not None
    assert access.caller(sent) is not None
    monkeypatch.setattr(tokens.time, "time", lambda: NOW + DAY + 1)
    monkeypatch.setattr(tokens.Tokens, "_claims", lambda *_: None)
    assert access.caller(sent) is None


def test_new_keys_of_the_issuer_are_read(folder: Path) -> None:
    """A JWKS that was replaced counts without a restart; the withdrawn key does not."""
    access = open_access(folder)
    assert access is not None
    assert access.caller(bearer(token(OTHER, kid="two"))) is None
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk(OTHER, "two")]}))
    assert access.caller(bearer(token(OTHER, kid="two"))) is not None
    assert access.caller(bearer(token(kid="one", sub="bob"))) is None


def test_one_public_key_in_a_file(folder: Path) -> None:
    """PEM will do, of an elliptic curve too."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "key.pem").write_bytes(pem)
    said = {"issuer": ISSUER, "audience": AUDIENCE, "keys": "key.pem", "algorithms": ["ES256"]}
    (folder / tokens.FILE).write_text(yaml.safe_dump(said))
    access = open_access(folder)
    assert access is not None
    assert access.caller(bearer(token(private, algorithm="ES256"))) is not None
    assert access.caller(bearer(token())) is None


@pytest.mark.parametrize(
    "change",
    [{"issuer": None}, {"keys": "nothing.json"}, {"algorithms": ["HS256"]}, {"secret": "S3CRET"}],
)
def test_what_cannot_be_read_locks(change: dict[str, Any], folder: Path) -> None:
    """The service does not start, and no value is repeated."""
    said = yaml.safe_load((folder / tokens.FILE).read_text()) | change
    (folder / tokens.FILE).write_text(yaml.safe_dump({k: v for k, v in said.items() if v}))
    with pytest.raises(ConfigError) as told:
        open_access(folder)
    assert "S3CRET" not in str(told.value)


def test_the_audit_names_nobody(tmp_path: Path) -> None:
    """One line for each request but those to open paths: who by hash, what, and how it ended."""
    lines: list[bytes] = []
    known = {hashlib.sha256(b"key").digest(): keys.ALL}
    guard = Guard(Answers(), base.RULES, Access(known), audit=lines.append)
    ask(guard, "GET", "/model", headers=[(b"x-api-key", b"key"), (b"x-request-id", b"r1")])
    ask(guard, "GET", "/model", headers=[(b"x-api-key", b"S3CRET")])
    ask(guard, "GET", "/S3CRET")
    ask(guard, "GET", "/livez")
    told = [json.loads(line) for line in lines]
    assert [(t["path"], t["status"]) for t in told] == [
        ("/model", 204), ("/model", 401), ("other", 401),
    ]  # fmt: skip
    assert told[0]["caller"] == hashlib.sha256(b"key").hexdigest()[:16]
    assert told[0]["request_id"] == "r1"
    assert "S3CRET" not in "".join(map(str, lines))


def test_a_service_that_leaves_is_not_ready_and_still_answers() -> None:
    """Readiness drops first; replies ask for their connections to be closed."""
    guard = Guard(Answers(), base.RULES)
    assert ask(guard, "GET", "/readyz").status == 204
    guard.leaving = True
    assert refused(ask(guard, "GET", "/readyz")) == (503, "leaving")
    reply = ask(guard, "GET", "/model")
    assert (reply.status, reply.headers["connection"]) == (204, "close")
    assert ask(guard, "GET", "/livez").status == 204
