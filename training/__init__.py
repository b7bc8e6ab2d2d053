"""From feature tables to answers a reviewer can judge.

::

    feature table --tasks--> rows and labels --models--> scores --calibrate--> probabilities
                  --evaluate--> metrics beside baselines and champion --track/review--> version
                  --bundle--> signed folder that services load

``python -m training --help`` lists the commands; ``from training import run, load, compare`` is the
same for notebooks.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.notebook import compare, load, run

__all__ = ["compare", "load", "run"]


def __getattr__(name: str) -> Any:
    """The notebook's functions, imported when they are asked for: services need none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from training import notebook

    return getattr(notebook, name)
