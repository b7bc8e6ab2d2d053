"""Timing over HTTP: when an active customer orders next, and who is due or overdue."""

from pathlib import Path

import bentoml
from bentoml.models import BentoModel

from serving import base

app = base.new_app()


@bentoml.service(**base.SETTINGS)
@bentoml.asgi_app(app)
class Timing:
    """Predicts and explains times with the approved version that this Bento pins."""

    model = BentoModel(bentoml.use_arguments(base.Pin).model)

    def __init__(self) -> None:
        base.open_release(app, Path(self.model.path), task="timing")


Timing.add_asgi_middleware(base.guarded)  # type: ignore[attr-defined]
