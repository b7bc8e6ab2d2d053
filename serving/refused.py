"""A request that is refused: every error reply has one shape and repeats nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

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


NO_PATH = Refused(404, "not_found", "no such path; /docs lists them")
LEAVING = Refused(503, "leaving", "the service is about to end", headers=((b"retry-after", b"5"),))
FAILED = Refused(500, "internal_error", "the service failed; its log has the request id")
