"""Arrays as bytes: the one way that fitted numbers are written and read, without pickle."""

import io
from collections.abc import Mapping
from typing import Any

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
