"""A client of the services, in one file that needs Python alone: copy it where you ask from.

::

    with Client("http://127.0.0.1:3000", key="...") as churn:
        reply = churn.predict(customers=["17850"])
        print(reply.answers[0], reply.warnings)
        why = churn.explain(prediction=reply.request_id)

A client keeps one connection open and belongs to one thread. Where a service says that it is busy,
the client waits as it is told and asks again.
"""

import http.client
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

Value = float | str | None
"""A number, a word, or None where it is missing."""
Row = Mapping[str, Value]
BUSY = (429, 503)


@dataclass(frozen=True)
class Reply:
    """What a service answered."""

    model: str
    version: int
    cutoff: str
    """The model learned from what had happened by then."""
    request_id: str
    answers: list[dict[str, Any]]
    """In the order of what was asked, as ``/docs`` describes them."""
    warnings: list[str] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)
    """All else of the reply, such as ``threshold`` or ``space``."""


class ServiceError(Exception):
    """A request that was refused; the message repeats nothing of it."""

    def __init__(self, status: int, told: Mapping[str, Any]) -> None:
        self.status, self.code = status, str(told.get("code", "unknown"))
        self.message, self.field = str(told.get("message", "")), told.get("field")
        self.request_id = str(told.get("request_id", ""))
        super().__init__(f"{status} {self.code}: {self.message} (request {self.request_id})")


class Client:
    """Asks one service.

    Parameters
    ----------
    address
        Such as ``https://models.example:3000``, or with a name, ``.../churn``, of several.
    key
        API key or token; None = the service asks for none.
    seconds
        To wait for a connection or an answer.
    tries
        Times to ask while the service is busy or its connection was closed.
    trusted
        What is trusted to sign the service's certificate; None = what the system trusts.
    """

    def __init__(
        self, address: str, key: str | None = None, seconds: float = 15.0, tries: int = 3,
        trusted: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"{address!r}: expected http://HOST:PORT or https://HOST:PORT")
        self._root, self._tries = parts.path.rstrip("/"), tries
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._connection = (
            http.client.HTTPSConnection(parts.hostname, parts.port, timeout=seconds,
                                        context=trusted)
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
        )  # fmt: skip

    def predict(
        self, *, rows: Sequence[Row] | None = None, customers: Sequence[str] | None = None,
        history: Mapping[str, Any] | None = None,
    ) -> Reply:  # fmt: skip
        """Answers for feature rows, for customers by the source's ids, or for a posted history.

        ``history`` is a whole body, ``{"history": {table: rows}, "as_of": ...}``.
        """
        return _reply(self.ask("/predict", _body(rows, customers, history)), "predictions")

    def explain(
        self, *, rows: Sequence[Row] | None = None, customers: Sequence[str] | None = None,
        history: Mapping[str, Any] | None = None, prediction: str | None = None,
        language: Literal["en", "zh"] = "en",
    ) -> Reply:  # fmt: skip
        """The same with reasons; ``prediction`` is the request id of an earlier reply."""
        given = {"prediction": prediction} if prediction else _body(rows, customers, history)
        return _reply(self.ask(f"/explain?language={language}", given), "explanations")

    def what_if(self, of: Mapping[str, Any], changes: Row) -> dict[str, Any]:
        """One customer, by a body for ``/predict``, as asked and with values changed."""
        return self.ask("/what-if", {"of": of, "changes": changes})

    def model(self) -> dict[str, Any]:
        """What is served, and who approved it."""
        return self.ask("/model")

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The reply of any route; GET without a body, else POST.

        Raises
        ------
        ServiceError
            If the request is refused.
        OSError
            If the service cannot be reached.
        """
        sent = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = self._headers | ({} if sent is None else {"Content-Type": "application/json"})
        for left in range(self._tries - 1, -1, -1):
            try:
                method = "GET" if sent is None else "POST"
                self._connection.request(method, self._root + path, sent, headers)
                reply = self._connection.getresponse()
                read = reply.read()
            except (ConnectionError, http.client.RemoteDisconnected):
                self._connection.close()  # an idle connection was closed; questions change nothing
                if not left:
                    raise
                continue
            if reply.status in BUSY and left:
                time.sleep(float(reply.headers.get("Retry-After", 1)))
                continue
            told: dict[str, Any] = json.loads(read)
            if reply.status != 200:
                raise ServiceError(reply.status, told)
            return told
        raise ValueError(f"tries={self._tries}: expected 1 or more")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()


def _body(
    rows: Sequence[Row] | None, customers: Sequence[str] | None, history: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The body of a question, which brings one of the three."""
    given = [
        body
        for body in (
            None if rows is None else {"rows": [dict(row) for row in rows]},
            None if customers is None else {"customers": [*customers]},
            None if history is None else dict(history),
        )
        if body is not None
    ]
    if len(given) != 1:
        raise ValueError("give rows, customers or a history: one of them")
    return given[0]


def _reply(told: dict[str, Any], answers: str) -> Reply:
    head = {name: told.pop(name) for name in ("model", "version", "cutoff", "request_id")}
    return Reply(**head, answers=told.pop(answers), warnings=told.pop("warnings", []), said=told)
