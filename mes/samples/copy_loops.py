"""The loop that lays encoded fields side by side as rows: each field's own length of it, whatever the widest is."""

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled


@compiled("void(u1[::1], i8[::1], u1[:,::1], i8[::1], i8[::1])")
def put_fields(
    rows: NDArray[np.uint8],
    at: NDArray[np.int64],
    values: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    codes: NDArray[np.int64],
) -> None:
    """Write each row's next field to where it belongs, and move its place behind it.

    Args:
        rows: bytes of all rows, one after the other.
        at: where in them the next field of each row begins, (rows,); changed.
        values: encoded fields, (values, widest).
        lengths: how many bytes of each value count, (values,).
        codes: which value each row has, (rows,).
    """
    for row in range(len(codes)):
        code, start = codes[row], at[row]
        length = lengths[code]
        for byte in range(length):
            rows[start + byte] = values[code, byte]
        at[row] = start + length
