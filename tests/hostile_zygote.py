"""A warm process whose children run the file that they should read, as if it had taken a parser over."""

import os
from pathlib import Path
from typing import NoReturn

from mes.models import confined, zygote
from mes.models.confined import Task
from mes.models.confinement import confine


def run(task: Task) -> NoReturn:
    """Confine this process as for any model, then do what the file says."""
    program = Path(task.path).read_text(encoding="utf-8")
    confine(Path(task.path), task.memory_bytes, task.cpu_seconds)
    try:
        exec(program, {})  # noqa: S102 - that is what it is for
    except BaseException as error:  # noqa: BLE001 - told as an uncaught error would be
        os.write(confined.LAST_WORDS, repr(error).encode())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    confined.run = run
    zygote.main()
