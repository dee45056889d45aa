"""Prints the part of requirements.lock that running needs, so that images hold no test tools yet the same versions."""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

_NAME = re.compile(r"^(?P<name>[a-z0-9][a-z0-9.-]*)(?:\[[^]]*\])?==")
_VIA = re.compile(r"^    #(?: via|  ) (?P<source>\S.*)$")  # `# via x`, or `# via` and a line `#   x` for each
_PROJECT = re.compile(r"^\S+ \(pyproject\.toml\)$")  # the dev group would be (pyproject.toml:dev)


class Pin(NamedTuple):
    """One locked version: the lines that pip reads, and who asked for it."""

    name: str
    lines: list[str]
    sources: list[str]


def main() -> int:
    """Print the pins that the project's own dependencies lead to; 1 when the lock says of none who asked for it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("lock", nargs="?", type=Path, default=ROOT / "requirements.lock")
    kept = runtime(list(pins(options.parse_args().lock.read_text())))
    if not kept:
        print("The lock does not say what needs what; make it with `make lock`.", file=sys.stderr)
        return 1
    for pin in kept:
        print("\n".join(pin.lines))
    return 0


def pins(text: str) -> Iterator[Pin]:
    """Read what `uv pip compile --generate-hashes` wrote; a name is there twice where versions depend on markers."""
    pin: Pin | None = None
    for line in text.splitlines():
        if found := _NAME.match(line):
            if pin:
                yield pin
            pin = Pin(found["name"], [line], [])
        elif pin and (via := _VIA.match(line)):
            pin.sources.append(via["source"])
        elif pin and line.startswith("    --hash="):
            pin.lines.append(line)
    if pin:
        yield pin


def runtime(locked: list[Pin]) -> list[Pin]:
    """Those that the project asks for outside its groups, and whatever they need, in the lock's order."""
    needed = {pin.name for pin in locked if any(_PROJECT.match(source) for source in pin.sources)}
    found = needed
    while found:
        found = {pin.name for pin in locked if found.intersection(pin.sources)} - needed
        needed |= found
    return [pin for pin in locked if pin.name in needed]


if __name__ == "__main__":
    sys.exit(main())
