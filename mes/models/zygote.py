"""The warm process of a program: all that measures models is loaded in it, and each model gets a fork of it.

Runs as `python -m mes.models.zygote SOCKET PROGRAM`. It stays with one thread, because only such a process forks
safely: a lock that another thread held would stay locked in the child for ever.
"""

import gc
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mes.models import confined
from mes.models.confined import Task
from mes.models.confinement import adopt_orphans, die_with_parent, leave_network
from mes.models.warm_process import READY, REFUSED

_LONGEST_REQUEST = 64 * 1024
_DESCRIPTORS = 3


@dataclass(frozen=True, slots=True)
class _Child:
    """A fork at work: `ended` becomes readable with its end; `caller` when nobody wants its answer any more."""

    pid: int
    ended: int
    caller: socket.socket


@dataclass
class Zygote:
    """Forks a child per request until the program that it serves is gone.

    A request is one message with three descriptors: where the child writes its answer, where its last words, and a
    socket to its caller. On that goes the child's exit status, as `subprocess` gives it; who closes it has the child
    killed. The zygote alone signals its children, and before it reaps them, so that no other process is ever hit.
    What a child leaves running is adopted and ended before its end is told.
    """

    requests: socket.socket
    program: int
    events: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    children: set[int] = field(default_factory=set)

    def serve(self) -> None:
        """Fork, kill and reap; ends with the program."""
        self.events.register(self.requests, selectors.EVENT_READ, self._request)
        self.events.register(os.pidfd_open(self.program), selectors.EVENT_READ, sys.exit)
        self.requests.send(READY)
        while True:
            for key, _ in self.events.select():
                if key.fd in self.events.get_map():  # not gone with an event before it
                    key.data()

    def _request(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self.requests, _LONGEST_REQUEST, _DESCRIPTORS)
        if not message:
            sys.exit()
        answer, last_words, control = descriptors
        caller = socket.socket(fileno=control)
        try:
            child = self._fork(Task(**json.loads(message)), answer, last_words)
        except OSError as error:
            caller.send(REFUSED + os.strerror(error.errno or 0).encode())
            caller.close()
        else:
            self.children.add(child)
            following = _Child(child, os.pidfd_open(child), caller)
            self.events.register(following.ended, selectors.EVENT_READ, partial(self._reap, following))
            self.events.register(caller, selectors.EVENT_READ, partial(self._kill, following))
        finally:
            os.close(answer)
            os.close(last_words)

    def _fork(self, task: Task, answer: int, last_words: int) -> int:
        zygote = os.getpid()
        child = os.fork()
        if child == 0:
            _become_child(zygote, answer, last_words)
            confined.run(task)
        return child

    def _kill(self, child: _Child) -> None:
        self.events.unregister(child.caller)
        os.kill(child.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def _reap(self, child: _Child) -> None:
        """Collect the child, end what it left running, and tell its end."""
        _, status = os.waitpid(child.pid, 0)
        self.children.discard(child.pid)
        self._end_orphans()
        for source in (child.ended, child.caller):
            with suppress(KeyError):
                self.events.unregister(source)
        os.close(child.ended)
        with suppress(OSError):  # its caller may be gone
            child.caller.send(str(os.waitstatus_to_exitcode(status)).encode())
        child.caller.close()

    def _end_orphans(self) -> None:
        """Kill and collect what children started and did not end; it has become ours."""
        with suppress(FileNotFoundError):  # some kernels do not tell; then the limits on their CPU time end them
            ours = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
            for orphan in {int(pid) for pid in ours} - self.children:
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)


def main() -> None:
    """Load everything, and serve."""
    requests, program = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    if os.getppid() != program:
        sys.exit("the program that started this process is gone")
    leave_network()
    adopt_orphans()
    confined.rehearse()
    if (threads := len(list(Path("/proc/self/task").iterdir()))) != 1:
        sys.exit(f"{threads} threads are running after everything was loaded; a fork would not be safe")
    gc.collect()
    gc.freeze()  # so that a child's collection does not touch, and copy, the pages of what is loaded
    Zygote(requests, program).serve()


def _become_child(zygote: int, answer: int, last_words: int) -> None:
    """A session of its own that ends with the zygote, and none of its descriptors."""
    os.setsid()
    die_with_parent(zygote)
    os.dup2(answer, confined.ANSWER)
    os.dup2(last_words, confined.LAST_WORDS)
    os.closerange(confined.LAST_WORDS + 1, os.sysconf("SC_OPEN_MAX"))


if __name__ == "__main__":
    main()
