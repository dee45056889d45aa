"""The scan of all logs would find what it looks for."""

from pathlib import Path

import pytest

from tests import log_scan


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "order placed for anna@mail.example"}',
        '{"to": "mailto:anna@mail.example"}',
        "GET /v1/customers/anna%40mail.example",
        f'{{"customer": "{log_scan.SEEDED}"}}',
        "key mes_0123456789abcdef_0123456789abcdef0123456789abcdef used",
        "signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        f"signs in with {log_scan.PASSWORD}",
        "connects to postgresql://mes:hunter22@db:5432/mes",
        "Authorization: Bearer 0123456789abcdef",
    ],
)
def test_each_kind_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "home/logs").mkdir(parents=True)
    (tmp_path / "home/logs/api.jsonl").write_text(f"fine\n{line}\n")
    (file,) = log_scan.log_files(tmp_path)
    assert list(log_scan.findings(file.read_bytes()))
    file.unlink()


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "request", "actor": "web shop", "key_id": "0123456789abcdef"}',
        "connects to postgresql://mes:[redacted]@db:5432/mes",
        "Authorization: Bearer [redacted]",
        "mes_postgres_waiting_for_locks is 3",
        "relay host/42/0badc0de carries",
    ],
)
def test_what_logs_may_hold_is_left(line: str) -> None:
    assert list(log_scan.findings(line.encode())) == []
