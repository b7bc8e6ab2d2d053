"""Arrays as bytes: the one way that fitted numbers are written and read, without pickle."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def packed(arrays: Mapping[str, NDArray[Any]], *, compress: bool = False) -> bytes:
    """The arrays as one npz file; equal arrays give equal bytes.

    Raises
    ------
    ValueError
        If an array holds objects: they would need pickle.
    """
    stream = io.BytesIO()
    write = np.savez_compressed if compress else np.savez
    write(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def unpacked(data: bytes) -> Arrays:
    """The arrays that :func:`packed` wrote.

    Raises
    ------
    ValueError
        If an array would need pickle.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


class InArrays:
    """A model whose learned state is a few arrays, in one npz file."""

    file: ClassVar[str] = "model.npz"

    def __init__(self, config: Any) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self._arrays: Arrays = {}

    def save(self) -> dict[str, bytes]:
        """All arrays in one npz file."""
        return {self.file: packed(self._arrays)}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the arrays from verified bytes."""
        self.columns = tuple(columns)
        self._arrays = unpacked(files[self.file])
