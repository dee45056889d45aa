"""What a process sees around it: how full the disks are that it writes to, and when certificates end."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
from cryptography import x509
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mes.clock import Clock, utc_now
from mes.config import Settings
from mes.observability import metrics

log = structlog.get_logger(__name__)


def watch(settings: Settings) -> None:
    """Let this process's metrics tell of it; once in a process."""
    folders = {"home": settings.home}
    if "://" not in settings.objects_location:
        folders["objects"] = Path(settings.objects_location)
    metrics.watch(Disks(**folders))
    files = [Path(file.strip()) for file in (settings.certificates or "").split(",") if file.strip()]
    if files:
        metrics.watch(Certificates(files))


class Disks(Collector):
    """How much room there is on the disks of some folders; one that is not there yet, or not a disk's, is left out."""

    def __init__(self, **folders: Path) -> None:
        self._folders = folders

    def collect(self) -> Iterator[Metric]:
        """Free and all bytes, by what the folder is for."""
        free = GaugeMetricFamily(
            "mes_disk_free_bytes", "Room on the disk of a folder that we write to.", labels=("folder",)
        )
        size = GaugeMetricFamily("mes_disk_size_bytes", "Size of that disk.", labels=("folder",))
        for name, folder in self._folders.items():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                continue
            free.add_metric((name,), usage.free)
            size.add_metric((name,), usage.total)
        yield free
        yield size


class Certificates(Collector):
    """When the certificates in some PEM files end; of a file that holds a chain, the first that does."""

    def __init__(self, files: Sequence[Path], *, clock: Clock = utc_now) -> None:
        self._files, self._clock = files, clock

    def collect(self) -> Iterator[Metric]:
        """Seconds left, below 0 once it has ended; 0 for a file that cannot be read, since nobody then knows better."""
        left = GaugeMetricFamily(
            "mes_certificate_left_seconds", "Time until a certificate ends; 0 if it cannot be read.", labels=("file",)
        )
        for file in self._files:
            left.add_metric((file.name,), self._left_s(file))
        yield left

    def _left_s(self, file: Path) -> float:
        try:
            ends = min(found.not_valid_after_utc for found in x509.load_pem_x509_certificates(file.read_bytes()))
        except (OSError, ValueError) as error:
            log.warning("a certificate cannot be read", file=str(file), error=type(error).__name__)
            return 0.0
        return (ends - self._clock()).total_seconds()
