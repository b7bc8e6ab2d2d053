"""Churn over HTTP: whether an active customer will buy nothing within the horizon."""

from pathlib import Path

import bentoml
from bentoml.models import BentoModel

from serving import base

app = base.new_app()


@bentoml.service(**base.SETTINGS)
@bentoml.asgi_app(app)
class Churn:
    """Predicts and explains churn with the approved version that this Bento pins."""

    model = BentoModel(bentoml.use_arguments(base.Pin).model)

    def __init__(self) -> None:
        base.open_release(app, Path(self.model.path), task="churn")


Churn.add_asgi_middleware(base.guarded)  # type: ignore[attr-defined]
