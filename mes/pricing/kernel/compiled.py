"""Compiles the kernel's loops to machine code when their module is loaded, once per machine: no request pays for it."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(*signatures: str) -> Callable[[Loop], Loop]:
    """Machine code for these argument types; kept beside the source, so that later processes only load it.

    The loops release the GIL, so that threads work side by side, and keep to IEEE 754: nothing is reassociated, and
    the same input gives the same bits whatever the number of threads.

    Args:
        signatures: numba's, as `f8(f8[:,::1], i4[:,::1])`; none leaves it to the first caller, for inlined helpers.
    """
    decorate = numba.njit(list(signatures) or None, cache=True, nogil=True, error_model="numpy", boundscheck=False)
    return cast("Callable[[Loop], Loop]", decorate)
