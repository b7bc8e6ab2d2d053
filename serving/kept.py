"""Rows of recent predictions, so that one can be explained later by its request id.

They are kept in the memory of the process, for an hour, and fewer where many come; a restart
forgets them. Only the key that asked for a prediction gets its explanation.
"""

import time
from collections import OrderedDict
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from serving.refused import Refused
from serving.rows import Asked, first_error, refusal
from training.contract import Floats

SECONDS = 3600.0
MOST_ROWS = 20_000
unknown = partial(
    Refused,
    404,
    "unknown_prediction",
    "no prediction of yours with that request id is kept; they are kept for an hour at most",
    "prediction",
)


class Prediction(BaseModel):
    """A request to explain what was predicted before."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    prediction: str = Field(max_length=64, description="the request id of a reply of /predict")


_Fields = tuple[Floats, tuple[str, ...], NDArray[np.int64] | None, datetime | None]
"""Of ``Asked``, in its order. Python's collector of garbage leaves tuples of such things alone: it
would look at thousands of objects again and again, and hold all requests for 60 ms each time."""


class Kept:
    """The newest predictions by caller and request id; used by one event loop alone."""

    def __init__(self) -> None:
        self._rows = 0
        self._asked: OrderedDict[tuple[str, str], tuple[float, _Fields]] = OrderedDict()

    def keep(self, request: Request, asked: Asked) -> None:
        """Keep what was predicted; the oldest go where there is no room."""
        key = _key(request, request.scope["state"]["request_id"])
        self._forget(key)
        fields = asked.X, tuple(asked.warnings), asked.customers, asked.cutoff
        self._asked[key] = time.monotonic(), fields
        self._rows += len(asked.X)
        while self._rows > MOST_ROWS:
            self._forget(next(iter(self._asked)))

    def asked(self, request: Request, body: bytes) -> Asked:
        """The rows of the prediction that ``body`` names.

        Raises
        ------
        Refused
            400 or 422 where the body does not name one, 404 where it is not kept for this caller.
        """
        try:
            name = Prediction.model_validate_json(body).prediction
        except ValidationError as error:
            first = first_error(error)
            raise refusal(first) from None
        key = _key(request, name)
        since, fields = self._asked.get(key, (-SECONDS, None))
        if fields is None or time.monotonic() - since > SECONDS:
            self._forget(key)
            raise unknown()
        X, warnings, customers, cutoff = fields
        return Asked(X, list(warnings), customers, cutoff)

    def _forget(self, key: tuple[str, str]) -> None:
        _, fields = self._asked.pop(key, (0.0, None))
        self._rows -= len(fields[0]) if fields else 0


def names_prediction(body: bytes) -> bool:
    """Whether the body seems to name an earlier prediction."""
    return body[:100].lstrip()[1:].lstrip().startswith(b'"prediction"')


def _key(request: Request, name: str) -> tuple[str, str]:
    return request.scope["state"]["caller"], name
