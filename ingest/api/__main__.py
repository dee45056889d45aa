"""Serves the API until it is told to stop: `python -m ingest.api --port 8000`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

import uvicorn

from mes import config
from mes.observability import logs, surroundings, telemetry
from mes.runtime import garbage

_KEEP_ALIVE_S = 75  # longer than proxies keep theirs, so that none sends into a connection that we just closed
_GRACE_S = 5  # the supervisor kills after six


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; what is being answered then is answered."""
    settings = config.load()
    parser = argparse.ArgumentParser(prog="python -m ingest.api", description=__doc__)
    parser.add_argument("--host", default=settings.host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=settings.api_port, help="port to listen on (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    telemetry.start("api", settings)
    surroundings.watch(settings)
    # a quote prices a handful of rows: more threads take longer to wake than to do it (4.9 ms in place of 3.1)
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from ingest.api import app  # noqa: PLC0415 - polars reads its variable when it is imported

    # uvicorn, once it has stopped, raises the signal again: that would end us before the last logs are sent
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    api = app.create(settings)
    garbage.search_rarely()
    uvicorn.run(
        api,
        host=chosen.host,
        port=chosen.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        **logs.uvicorn_options(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
