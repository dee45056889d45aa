"""A shop's web server for tests, which receives webhooks."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What it was sent, and how it answers."""

    url: str
    answers: Callable[[str], int]
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)

    def sequences(self) -> dict[str, list[int]]:
        """Of each order, the sequences that were accepted."""
        found: dict[str, list[int]] = defaultdict(list)
        for _, body in self.got:
            event = json.loads(body)
            found[event["subject"]].append(int(event["sequence"]))
        return found


@contextmanager
def receiving(answers: Callable[[str], int] = lambda _body: 204) -> Iterator[Receiver]:
    """A web server on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            status = receiver.answers(body)
            if 200 <= status < 300:
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hooks", answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()
