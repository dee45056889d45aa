"""Sets the clock of one running program back or ahead, without touching the machine's."""

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("wrong_clock.c")


def build(folder: Path) -> Path | None:
    """Compile what is preloaded into programs; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "wrong_clock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return library


class ProgramClock:
    """The clock of a program, however often it is started again; timers that count from its start stay right."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(file)}
        file.write_bytes(struct.pack("q", 0))

    def set_wrong(self, by_s: int) -> None:
        """Let it be ahead by so many seconds, or behind if that is negative; 0 sets it right."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", by_s))
