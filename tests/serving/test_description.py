"""The published description is what the service does: schemathesis asks what it allows, and more.

Requests are generated from the description, some that fit it and some that break it; replies must
have the described status, type and shape, what fits an answer, the rest a refusal.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from schemathesis.specs.openapi.checks import negative_data_rejection

from serving import base
from serving.guard import Guard
from serving.release import Release
from tests.serving.asgi import JSON, ask
from tests.serving.echo import ACCESS, KEY, refused
from training.supervised.bundle import Bundle

EXAMPLES = 200 if os.environ.get("PERENNIAL_TEST_ALL") else 60
"""Requests for each route."""
CHECKS = [
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis.*")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name)
@pytest.mark.parametrize("path", ["/predict", "/explain", "/what-if", "/model"])
def test_replies_are_as_described(path: str, mode: GenerationMode, served: Guard) -> None:
    """Every route of the description, with bodies that fit or bodies that do not."""
    described = schemathesis.openapi.from_asgi("/openapi.json", served)
    if path == "/model":
        if mode is GenerationMode.POSITIVE:
            described[path]["GET"].Case().call_and_validate(checks=CHECKS)
        return

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described[path]["POST"].as_strategy(generation_mode=mode))
    def ask_all(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    ask_all()


def test_no_route_is_left_out(served: Guard) -> None:
    """The description has the routes that are asked above, and no others."""
    described = schemathesis.openapi.from_asgi("/openapi.json", served)
    assert set(described.raw_schema["paths"]) == {"/predict", "/explain", "/what-if", "/model"}


@pytest.fixture(scope="module")
def locked(bundle: Bundle, statement: Release) -> Guard:
    """The service behind keys."""
    return Guard(base.make_app(bundle, statement), base.RULES, ACCESS)


@pytest.mark.parametrize("path", [*base.RULES, "/unknown", "/predict/", "/PREDICT"])
@pytest.mark.parametrize("method", METHODS)
def test_every_cell_of_the_route_table(method: str, path: str, locked: Guard) -> None:
    """Without a key open routes alone answer; with one, the methods of the table."""
    rule = base.RULES.get(path)
    free = rule is not None and rule.open
    for headers in ([], [(b"x-api-key", b"wrong")]):
        reply = ask(locked, method, path, b"{}", [*JSON, *headers])
        assert (reply.status == 401) == (not free)
        if not free:
            assert refused(reply)[1] == "unauthorized"
    status = ask(locked, method, path, b"{}", [*JSON, (b"x-api-key", KEY.encode())]).status
    if rule is None:
        assert status == 404
    elif method not in rule.methods:
        assert status == 405
    else:
        assert status not in (401, 403, 405)
