"""Compiles the kernel's loops to machine code when their module is loaded, once per machine: no request pays for it."""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import caching

Loop = TypeVar("Loop", bound=Callable[..., Any])

_ROOT = Path(__file__).resolve().parents[3]
_IMPORT = re.compile(r"^from (mes[\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE)


def compiled(*signatures: str) -> Callable[[Loop], Loop]:
    """Machine code for these argument types; kept beside the source, so that later processes only load it.

    The loops release the GIL, so that threads work side by side, and keep to IEEE 754: nothing is reassociated, and
    the same input gives the same bits whatever the number of threads.

    Args:
        signatures: numba's, as `f8(f8[:,::1], i4[:,::1])`; none leaves it to the first caller, for inlined helpers.
    """
    decorate = numba.njit(list(signatures) or None, cache=True, nogil=True, error_model="numpy", boundscheck=False)
    return cast("Callable[[Loop], Loop]", decorate)


@cache
def sources_of(path: Path) -> frozenset[Path]:
    """A module's file and those of all modules of ours that it imports, and they in turn."""
    found, left = {path}, [path]
    while left:
        new = {one for one in _imported(left.pop()) if one not in found}
        found |= new
        left += new
    return frozenset(found)


def _imported(path: Path) -> Iterator[Path]:
    for module, names in _IMPORT.findall(path.read_text()):
        for name in (module, *(f"{module}.{name}" for name in re.findall(r"\w+", names))):
            place = _ROOT / name.replace(".", "/")
            yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


@cache
def _stamp(path: Path) -> bytes:
    digest = hashlib.sha256()
    for source in sorted(sources_of(path)):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.digest()


class _OfAllSources:
    """Numba keeps code while its own file is unchanged, but what it imports, helpers and numbers, is frozen into it."""

    _py_file: str

    def get_source_stamp(self) -> bytes:
        return _stamp(Path(self._py_file).resolve())


class Provided(_OfAllSources, caching.UserProvidedCacheLocator):
    """In the folder `NUMBA_CACHE_DIR`."""


class BesideSource(_OfAllSources, caching.InTreeCacheLocator):
    """In `__pycache__`."""


class OfUser(_OfAllSources, caching.UserWideCacheLocator):
    """In the user's own cache, where the source may not be written to."""


numba.config.CACHE_LOCATOR_CLASSES = ",".join(  # type: ignore[attr-defined]
    f"{__name__}.{locator.__name__}" for locator in (Provided, BesideSource, OfUser)
)
