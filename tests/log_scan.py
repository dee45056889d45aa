"""Looks, at the end of a test run, through all that was logged in it for secrets and for people's addresses.

Many tests place orders for a customer whose name holds an e-mail address (`SEEDED`), make keys, webhooks and users:
none of that may turn up in any log of any program, nor in what a test's own process has logged.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SEEDED = "Ada Seeded <ada.seeded@customers.example>"
PASSWORD = "a good long password"  # of the people that tests make  # noqa: S105
_KINDS = {
    "an e-mail address": re.compile(rb"(?<!://)(?<![\w.+-])[\w.+-]+(?:@|%40)(?:[\w-]+\.)+[a-zA-Z]{2,}\b"),
    "a seeded name": re.compile(rb"Ada Seeded|Seeded-Franklin"),
    "an API key": re.compile(rb"\bmes_[0-9a-f]{8,}_[0-9a-f]{16,}"),
    "a webhook's secret": re.compile(rb"\bwhsec_[\w+/=-]{8,}"),
    "a person's password": re.compile(PASSWORD.encode()),
    "a password in a URL": re.compile(rb"\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:(?!\[redacted\])[^\s/@'\"]+@"),
    "a bearer token": re.compile(rb"(?i)\bbearer\s+(?!\[redacted\])[\w.~+/=-]{8,}"),
}
_NOT_PEOPLE = re.compile(rb"team\+pkg-go@tracker\.debian\.org")  # whoever built Prometheus, which says so
_SHOWN = 40
_LOGS = ("*.log", "*.log.*", "logs/*.jsonl", "logs/*.jsonl.*", "log/*.json", "log/*.csv")


def findings(text: bytes) -> Iterator[str]:
    """What a text holds that no log may."""
    text = _NOT_PEOPLE.sub(b"", text)
    for kind, pattern in _KINDS.items():
        if found := pattern.search(text):
            yield f"{kind}: {found.group()[:_SHOWN].decode(errors='replace')}"


def log_files(folder: Path) -> list[Path]:
    """All logs below a folder."""
    return sorted({path for pattern in _LOGS for path in folder.rglob(pattern) if path.is_file()})


class LogScan:
    """A plugin of pytest; one process has it, to which the others report."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._files = self._bytes = self._tests = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What a test's own process has said."""
        for name, text in report.sections:
            self._tests += 1
            self._look(f"{report.nodeid} ({name})", text.encode())

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """What programs have written, whose folders are there until the next runs."""
        factory = getattr(session.config, "_tmp_path_factory", None)
        if factory is None:
            return
        for path in log_files(factory.getbasetemp()):
            content = path.read_bytes()
            self._files, self._bytes = self._files + 1, self._bytes + len(content)
            self._look(str(path), content)
        if self._found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was looked at, and what was found."""
        terminalreporter.write_line(
            f"logs: {self._files:,} files of {self._bytes / 1e6:,.1f} MB and {self._tests:,} outputs hold "
            f"{len(self._found) or 'no'} secrets or addresses"
        )
        for each in self._found:
            terminalreporter.write_line(f"  {each}", red=True)

    def _look(self, where: str, text: bytes) -> None:
        self._found += [f"{where}: {what}" for what in findings(text)]
