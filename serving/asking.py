"""What a request says beside its body."""

from typing import cast, get_args

from starlette.requests import Request

from serving.refused import Refused
from training.sentences import Language

LANGUAGE = "language"
LANGUAGES = get_args(Language)
DESCRIBED = {
    "name": LANGUAGE, "in": "query", "required": False,
    "description": "Language of the sentences; numbers are the same in both.",
    "schema": {"type": "string", "enum": list(LANGUAGES), "default": "en"},
}  # fmt: skip
"""The parameter, for OpenAPI."""


def request_id(request: Request) -> str:
    """The id that the guard gave to the request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def language(request: Request) -> Language:
    """The language of the sentences that are asked for.

    Raises
    ------
    Refused
        422 where it is none that is spoken here.
    """
    if not request.scope["query_string"]:
        return "en"
    named = request.query_params.get(LANGUAGE, "en")
    if named not in LANGUAGES:
        text = f"expected one of {', '.join(LANGUAGES)}"
        raise Refused(422, "invalid_parameter", text, LANGUAGE)
    return cast(Language, named)
