"""What a process sees around it is told as it is; what cannot be seen alerts, rather than hides."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mes.observability.surroundings import Certificates, Disks
from tests import certificates

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY_S = 86_400.0


def certificate(days: float) -> bytes:
    return certificates.pem(NOW + timedelta(days=days))


def left_s(file: Path) -> float:
    (family,) = Certificates([file], clock=lambda: NOW).collect()
    (sample,) = family.samples
    assert sample.labels == {"file": file.name}
    return sample.value


@pytest.mark.parametrize(
    ("content", "days"),
    [
        (certificate(30), 30),
        (certificate(-2), -2),
        (certificate(30) + certificate(3) + certificate(300), 3),
        (b"", 0),
        (b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n", 0),
        (certificate(30)[:200], 0),
    ],
    ids=["valid", "ended", "the first of a chain", "empty", "no certificate", "cut short"],
)
def test_a_certificate_has_so_much_time_left(tmp_path: Path, content: bytes, days: float) -> None:
    file = tmp_path / "api.pem"
    file.write_bytes(content)
    assert left_s(file) == days * DAY_S


def test_a_certificate_that_cannot_be_read_has_none_left(tmp_path: Path) -> None:
    assert left_s(tmp_path / "nothing.pem") == 0
    assert left_s(tmp_path) == 0


def test_a_folder_that_is_not_there_yet_has_no_disk(tmp_path: Path) -> None:
    free, size = Disks(home=tmp_path, objects=tmp_path / "later").collect()
    assert [sample.labels for sample in free.samples] == [{"folder": "home"}]
    assert 0 < free.samples[0].value <= size.samples[0].value
