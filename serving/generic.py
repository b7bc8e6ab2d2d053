"""Any question over HTTP that has no service of its own: what its bundle says, it answers."""

from pathlib import Path

import bentoml
from bentoml.models import BentoModel

from serving import base

app = base.new_app()


@bentoml.service(**base.SETTINGS)
@bentoml.asgi_app(app)
class Generic:
    """Predicts and explains with the approved version that this Bento pins."""

    model = BentoModel(bentoml.use_arguments(base.Pin).model)

    def __init__(self) -> None:
        base.open_release(app, Path(self.model.path))


Generic.add_asgi_middleware(base.guarded)  # type: ignore[attr-defined]
