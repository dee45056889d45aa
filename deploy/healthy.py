"""Tells the container engine whether a process of this container answers: `python deploy/healthy.py URL`."""  # noqa: INP001  no package

import sys
import urllib.request

TIMEOUT_S = 4  # below the engine's own of 5 s, so that its log has the reason


def main() -> None:
    """Ask the URL; exit status 1, with the reason, unless it answers 2xx.

    Raises:
        SystemExit: always when it is not healthy.
    """
    url = sys.argv[1]
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):  # noqa: S310  the URL is from our own files
            pass
    except OSError as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
