"""Compiles all machine code ahead (`python -m mes.pricing.kernel`), so that no request ever waits for a compiler."""

import importlib.util
import pkgutil
import sys
import time
from pathlib import Path

import mes.models
import mes.pricing


def main() -> int:
    """Import every module that defines compiled loops, which compiles and keeps them; says how long that took."""
    start = time.perf_counter()
    names = [
        found.name
        for package in (mes.pricing, mes.models)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ]
    compiled = [name for name in names if _uses_compiled(name)]
    for name in compiled:
        importlib.import_module(name)
    sys.stdout.write(f"{len(compiled)} modules compiled or found so in {time.perf_counter() - start:.1f} s\n")
    return 0


def _uses_compiled(name: str) -> bool:
    """By its source: importing all modules to find out would start what is not meant to be started here."""
    found = importlib.util.find_spec(name)
    return bool(found and found.origin and "import compiled" in Path(found.origin).read_text())


if __name__ == "__main__":
    sys.exit(main())
