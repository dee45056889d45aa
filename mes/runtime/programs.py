"""Names the programs that make up the system, each as the command that starts it; `mes` imports none of them."""

import sys

from mes.runtime import paths

ROLES = ("refresh", "pricing", "dispatch", "relay", "inbox", "webhooks")
DEFAULT_ROLES = ",".join(ROLES)


def api(host: str, port: int) -> list[str]:
    """The sync API."""
    return [sys.executable, "-m", "ingest.api", "--host", host, "--port", str(port)]


def worker(roles: str = DEFAULT_ROLES) -> list[str]:
    """A worker for these roles, separated by commas."""
    return [sys.executable, "-m", "ingest.worker", "--roles", roles]


def console(host: str, port: int) -> list[str]:
    """The operators' and managers' console."""
    argv = [sys.executable, "-m", "streamlit", "run", "app/main.py"]
    argv += ["--server.port", str(port), "--server.address", host, "--server.headless", "true"]
    # watching thousands of files for edits is for developers
    return [*argv, "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"]


def dagster_webserver(host: str, port: int) -> list[str]:
    """Dagster's UI."""
    argv = [str(paths.script("dagster-webserver")), "-m", "pipelines.definitions", "-h", host, "-p", str(port)]
    return [*argv, "--log-format", "json"]


def dagster_daemon() -> list[str]:
    """What runs Dagster's schedules, sensors and queued runs; there must be one only."""
    return [str(paths.script("dagster-daemon")), "run", "-m", "pipelines.definitions", "--log-format", "json"]
