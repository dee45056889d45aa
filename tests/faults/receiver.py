"""A web server that is told by webhooks: it checks signatures, fails now and then, and keeps what it was told."""

import random
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

TYPES = tuple(f"mes.order.{status}.v1" for status in ("submitted", "shipped", "closed", "cancelled"))
"""What it asks for: of all events, a small machine could not be called as fast as they happen."""

_SLEEPS_S = 16.0  # a call is given up after 15


class _Fate(Enum):
    TAKES = "takes"
    FAILS = "fails"
    FORGETS_TO_ANSWER = "forgets to answer"
    SLEEPS = "sleeps"


_SHARES = ((_Fate.SLEEPS, 0.002), (_Fate.FORGETS_TO_ANSWER, 0.02), (_Fate.FAILS, 0.05))  # growing


class Receiver:
    """Keeps, of each order, the sequences that it was told, in the order in which they came."""

    def __init__(self, seed: int) -> None:
        self.url = ""
        self.secret = ""
        self.told: dict[str, list[int]] = defaultdict(list)
        self.bad_signatures = self.failed = self.torn = 0
        self._seed = seed
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def take(self, headers: dict[str, str], body: bytes) -> int | None:
        """What is answered to a call; None for no answer at all."""
        if len(body) < int(headers["content-length"]):  # whoever called has died meanwhile
            self.torn += 1
            return None
        try:
            event = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            self.bad_signatures += 1
            return 401
        fate = self._fate(headers["webhook-id"])
        if fate is _Fate.FAILS:
            return 500
        if fate is _Fate.SLEEPS:
            time.sleep(_SLEEPS_S)
            return None
        with self._lock:
            self.told[event["subject"]].append(int(event["sequence"]))
        return None if fate is _Fate.FORGETS_TO_ANSWER else 204

    def _fate(self, event_id: str) -> "_Fate":
        """Once for each event, so that it need not wait for the third attempt, which comes minutes later."""
        with self._lock:
            if event_id in self._known:
                return _Fate.TAKES
            self._known.add(event_id)
            drawn = random.Random(zlib.crc32(event_id.encode()) ^ self._seed).random()
            fate = next((fate for fate, share in _SHARES if drawn < share), _Fate.TAKES)
            self.failed += fate is not _Fate.TAKES
            return fate

    def sequences(self) -> dict[str, list[int]]:
        """Of each order, what came, each at its first time."""
        with self._lock:
            return {order: list(dict.fromkeys(told)) for order, told in self.told.items()}

    def repeats(self) -> int:
        """How many came again, as they may."""
        with self._lock:
            return sum(len(told) - len(set(told)) for told in self.told.values())


@contextmanager
def receiving(seed: int) -> Iterator[Receiver]:
    """A receiver that answers, for the time of the block."""
    receiver = Receiver(seed)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
            if answer is None:
                return
            self.send_response(answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks"
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
