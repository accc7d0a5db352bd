"""Arrow arrays of values of Python and NumPy, and the other way round, without pandas.

``pyarrow.array``, ``pyarrow.scalar`` and ``to_numpy`` import pandas to see whether that is what they are given. That
takes a quarter of a second, and loses a Ctrl-C that comes meanwhile: the modules of pandas drop every error while they
are set up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BYTES = 2**31 - 1


def strings(texts: Sequence[str | None]) -> Any:
    """Returns an array of type string, null where a text is None.

    Raises:
        UnicodeEncodeError: a text has lone surrogates.
    """
    import pyarrow as pa

    encoded = [b"" if text is None else text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if ends[-1] > _MOST_BYTES:
        return pa.array(texts, pa.string())
    is_there = np.fromiter((text is not None for text in texts), np.bool_, len(texts))
    places, data = pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(texts), places, data, _bits(is_there))


def numbers(values: NDArray[Any], is_there: NDArray[np.bool_] | None = None) -> Any:
    """Returns an array of the type of some numbers or truth values; its first item is a scalar.

    Args:
        values: (N,)
        is_there: (N,) false where the array is to be null; None for nowhere.
    """
    import pyarrow as pa

    data = _bits(values) if values.dtype == np.bool_ else pa.py_buffer(np.ascontiguousarray(values))
    known = None if is_there is None else _bits(is_there)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [known, data])


def values_of(array: Any, none: float) -> NDArray[Any]:
    """Returns the (N,) values of an array of numbers; they may not be written to.

    Args:
        array: chunked or not.
        none: what stands where the array is null.
    """
    import pyarrow as pa

    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    dtype = np.dtype(array.type.to_pandas_dtype())
    if not len(array):
        return np.empty(0, dtype)
    if array.null_count:
        array = array.fill_null(numbers(np.array([none], dtype))[0])
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)


def _bits(values: NDArray[np.bool_]) -> Any:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(values, bitorder="little"))
