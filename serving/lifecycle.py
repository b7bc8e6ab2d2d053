"""Lifecycle over HTTP: in which stage a customer is, how surely, and what follows."""

from pathlib import Path

import bentoml
from bentoml.models import BentoModel

from serving import base

app = base.new_app()


@bentoml.service(**base.SETTINGS)
@bentoml.asgi_app(app)
class Lifecycle:
    """Answers and explains with the approved version that this Bento pins."""

    model = BentoModel(bentoml.use_arguments(base.Pin).model)

    def __init__(self) -> None:
        base.open_release(app, Path(self.model.path), task="lifecycle")


Lifecycle.add_asgi_middleware(base.guarded)  # type: ignore[attr-defined]
