"""A request that is refused: every error reply has one shape and repeats nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import orjson


@dataclass(eq=False)
class Refused(Exception):
    """A request that gets an error reply; none of its texts may hold a value of the request."""

    status: int
    code: str
    """One word for programs."""
    message: str
    """A sentence for people."""
    field: str | None = None
    """What is wrong, such as ``rows[3].rfm__recency_days``."""
    headers: Sequence[tuple[bytes, bytes]] = ()

    def body(self, request_id: str) -> bytes:
        """The error reply."""
        told = {"code": self.code, "message": self.message, "field": self.field}
        return orjson.dumps({**told, "request_id": request_id})


# Made anew for each request: an exception keeps the frames that it was raised from, body and all.
no_path = partial(Refused, 404, "not_found", "no such path; /docs lists them")
leaving = partial(
    Refused, 503, "leaving", "the service is about to end", headers=((b"retry-after", b"5"),)
)
failed = partial(Refused, 500, "internal_error", "the service failed; its log has the request id")
