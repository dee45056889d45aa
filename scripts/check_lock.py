"""Tells whether requirements.lock still says what pyproject.toml asks for, without asking any index."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)")
_DIRECT = re.compile(r"#?\s*(?:via )?\S+ \(pyproject\.toml(?::\w+)?\)$")


class Lock(NamedTuple):
    """What a lock file holds: the version of each package, and which are there because the project names them."""

    versions: dict[str, str]
    direct: set[str]


def main() -> int:
    """Print each difference; 0 when there is none."""
    faults = list(differences((ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text()))
    for fault in faults:
        print(f"requirements.lock: {fault}")
    if faults:
        print("Run `make lock`.")
    return 1 if faults else 0


def differences(project: str, lock_text: str) -> Iterator[str]:
    """What a project file (TOML) asks for and its lock does not give, and what the lock still has for no reason."""
    lock = parse_lock(lock_text)
    wanted = {str(canonicalize_name(requirement.name)): requirement for requirement in _requirements(project)}
    for name, requirement in wanted.items():
        version = lock.versions.get(name)
        if version is None:
            yield f"{requirement} is missing"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{name} is locked at {version}, but {requirement} is asked for"
    for name in sorted(lock.direct - wanted.keys()):
        yield f"{name} is no longer asked for"


def parse_lock(text: str) -> Lock:
    """Read what `uv pip compile` wrote."""
    lock = Lock({}, set())
    name = ""
    for line in text.splitlines():
        if pin := _PIN.match(line):
            name = str(canonicalize_name(pin["name"]))
            lock.versions[name] = pin["version"]
        elif _DIRECT.search(line.strip()):
            lock.direct.add(name)
    return lock


def _requirements(project: str) -> Iterator[Requirement]:
    content = tomllib.loads(project)
    for text in [*content["project"]["dependencies"], *content["dependency-groups"]["dev"]]:
        yield Requirement(text)


if __name__ == "__main__":
    sys.exit(main())
