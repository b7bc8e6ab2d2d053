"""Replies out: their types, with the bundle's own names, for the published description."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

from features.schema import FeatureColumn
from serving.rows import STRICT
from training.contract import Kind
from training.details import Detail
from training.supervised.bundle import Answer

REFUSALS = {
    400: "The body is not JSON or repeats a name",
    401: "An API key is configured and was not sent",
    404: "No such prediction of this caller is kept",
    408: "The body did not arrive in time",
    413: "The body is larger than 1 MiB",
    415: "The body is not application/json",
    422: "A row or a field does not fit; `field` says which",
    431: "The headers are larger than 16 KiB",
    500: "The service failed; its log has the request id",
    503: "Too many requests are at work; Retry-After says when to try again",
    504: "The answer was not ready in time",
}
"""Why a request to predict or explain gets an error reply."""


class RefusalReply(BaseModel):
    """What every refused request gets."""

    model_config = STRICT

    code: str
    """One word for programs, such as ``missing_field``."""
    message: str
    """A sentence for people; it never repeats a value of the request."""
    field: str | None
    """What is wrong, such as ``rows[3].rfm__recency_days``."""
    request_id: str


class Published(BaseModel):
    """The published profiles that customers are answered by."""

    model_config = STRICT

    cutoff: str
    """The moment as of which they hold."""
    age_days: float
    customers: int


class ModelReply(BaseModel):
    """Which answer is served, what it means and who approved it."""

    model_config = STRICT

    model: str
    version: int
    cutoff: str
    """The model learned from what had happened by then."""
    digest: str
    """SHA-256 of the bundle's manifest."""
    question: str
    answers: Kind
    """``event``: a probability; ``amount``: an expected value."""
    output: str
    """Name of the calibrated number."""
    unit: str
    """What that number is measured in."""
    space: str
    """What scores and contributions are measured in."""
    kind: str
    """The model family."""
    horizon_days: int
    """Length of the window that the question is about."""
    threshold: float | None
    """Probability from which a customer counts as positive; null for amounts."""
    source: str
    """Customer base that it learned from."""
    currency: str
    """What columns in ``currency`` are measured in."""
    reviewer: str
    approved_at: str
    max_rows: int
    """Most rows of one request."""
    tables: dict[str, dict[str, str]]
    """Table -> column -> type: what a posted history may have; empty where none can be posted."""
    age_days: int
    """Days since the cutoff."""
    profiles: Published | None
    """Null where customers cannot be asked for by id."""
    columns: list[FeatureColumn]
    """The feature columns in the model's order."""
    details: list[Detail]
    """The columns beside the answer."""
    request_id: str


LEVERS = "the answer with other values of what the business can move: an association, no cause"


def reply_types(answer: Answer) -> tuple[type[BaseModel], type[BaseModel]]:
    """Types of the replies of ``/predict`` and ``/explain``, with the bundle's own output name."""
    head: dict[str, Any] = {
        "model": str,
        "version": int,
        "cutoff": _said(str, "the model learned from what had happened by then"),
        "request_id": str,
    }
    event = answer.kind == "event"
    valued = bool(answer.told) and not event
    said = "calibrated probability" if event else f"expected value in {answer.said_unit}"
    numbers: dict[str, Any] = {
        answer.output: Annotated[
            float, Field(ge=0, le=1 if event else None, description=f"{said}: {answer.question}")
        ],
        "score": _said(float, f"before calibration, in {answer.space}"),
    }
    positive = {"positive": _said(bool, "whether the probability reaches the threshold")}
    told = {
        d.name: _said(str if d.dtype == "string" else float, f"{d.meaning}; {answer.said(d.unit)}")
        for d in answer.told
    }
    prediction = _type("Prediction", {**numbers, **(positive if event else {}), **told})
    contribution = _type(
        "Contribution",
        {
            "feature": str,
            "value": _said(float | str | None, "as counted; null = missing"),
            "contribution": _said(float, f"how far it moves the score, in {answer.space}"),
            "text": _said(str | None, "the same in words; null where it moves nothing"),
        },
    )
    explanation = _type(
        "Explanation",
        {
            **numbers,
            "base": _said(float, "the score before anything is known of the customer"),
            "sum_check": _said(float, "|base + contributions - score|"),
            **({"value": _said(_made(answer), "what makes the value")} if valued else {}),
            "reasons": _said(list[str], "the largest contributions in words"),
            **({"levers": _said(list[str], LEVERS)} if answer.levers else {}),
            "themes": _said(dict[str, float], "contributions by theme; base + themes = score"),
            "contributions": _said(_list(contribution), "all columns, largest first"),
        },
    )
    judged: dict[str, Any] = {"threshold": float} if event else {"unit": str}
    warned = {
        "warnings": _said(list[str], "where words stand that were not learned, and old profiles")
    }
    predicted = {**head, **judged, "predictions": _list(prediction), **warned}
    explained = {
        **head, "space": str, "explains": str, "explanations": _list(explanation), **warned,
    }  # fmt: skip
    return _type("Predicted", predicted), _type("Explained", explained)


def _made(answer: Answer) -> type[BaseModel]:
    """What makes the value that matters most: factors, each with what it moves."""
    factor = _type(
        "Factor",
        {
            "factor": str,
            "value": float,
            "usual": _said(float, "geometric mean over customers of an earlier cutoff"),
            "contribution": _said(float, f"what it adds to the value, in {answer.currency}"),
            "text": _said(str, "the same in words"),
            "themes": _said(dict[str, float], "what columns make of the contribution, by theme"),
            "common": _said(float, "the rest of it, such as the season, which is not the row's"),
            "reasons": _said(list[str], "the columns that make most of it"),
        },
    )
    factors = _said(_list(factor), "usual + contributions = value; largest first")
    return _type("Value", {"of": str, "usual": float, "factors": factors})


def _type(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    made: type[BaseModel] = create_model(  # type: ignore[call-overload]
        name, __config__=STRICT, **{field: (kind, ...) for field, kind in fields.items()}
    )
    return made


def _said(kind: Any, description: str) -> Any:
    return Annotated[kind, Field(description=description)]


def _list(kind: type[BaseModel]) -> Any:
    return list[kind]  # type: ignore[valid-type]
