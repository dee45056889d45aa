"""Knows how Prometheus and Alertmanager run beside the system, with the rules of `deploy/` and our own addresses."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mes.errors import MesError
from mes.runtime import paths

_PROGRAMS = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}
_KEPT = "15d"
SCRAPED = ("api", "worker", "console")


class AlertingMissing(MesError):
    """Prometheus or Alertmanager is not installed: apt-get install prometheus prometheus-alertmanager."""

    code = "alerting_missing"


@dataclass(frozen=True)
class Commands:
    """How the two programs are started."""

    prometheus: list[str]
    alertmanager: list[str]


def require() -> None:
    """Raise AlertingMissing unless both programs are installed."""
    for name in _PROGRAMS:
        _program(name)


def prepare(home: Path, host: str, ports: Mapping[str, int], urls: Mapping[str, str]) -> Commands:
    """Write the configuration of both into `<home>/alerting`; gives the commands that run them in the foreground.

    Args:
        home: of the system.
        host: on which both listen.
        ports: of `prometheus` and `alertmanager`.
        urls: where our processes serve their metrics, by the names in `SCRAPED`.

    Raises:
        AlertingMissing: one of them is not installed.
    """
    folder = home / "alerting"
    folder.mkdir(parents=True, exist_ok=True)
    listen = {name: f"{_bracketed(host)}:{ports[name]}" for name in _PROGRAMS}
    rules = _written(folder / "prometheus.yml", _scraping(listen, urls))
    routes = _written(folder / "alertmanager.yml", _routing())
    return Commands(
        [
            *(_program("prometheus"), f"--config.file={rules}", f"--storage.tsdb.path={folder / 'prometheus'}"),
            *(f"--storage.tsdb.retention.time={_KEPT}", f"--web.listen-address={listen['prometheus']}"),
            "--log.format=json",
        ],
        [
            *(_program("alertmanager"), f"--config.file={routes}", f"--storage.path={folder / 'alertmanager'}"),
            *(f"--web.listen-address={listen['alertmanager']}", "--cluster.listen-address=", "--log.format=json"),
        ],
    )


def _program(name: str) -> str:
    found = next((path for candidate in _PROGRAMS[name] if (path := shutil.which(candidate))), None)
    if found is None:
        raise AlertingMissing(program=name)
    return found


def _scraping(listen: Mapping[str, str], urls: Mapping[str, str]) -> dict[str, Any]:
    """`deploy/prometheus/prometheus.yml`, with the addresses of this machine."""
    said = _deployed("prometheus/prometheus.yml")
    said["rule_files"] = [str(paths.ROOT / "deploy/prometheus/rules/*.yml")]
    said["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [listen["alertmanager"]]}]
    targets = {name: urlsplit(url).netloc for name, url in urls.items()} | {"prometheus": listen["prometheus"]}
    for job in said["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    return said


def _routing() -> dict[str, Any]:
    """`deploy/alertmanager/alertmanager.yml`, telling nobody: here its page is looked at."""
    said = _deployed("alertmanager/alertmanager.yml")
    said["receivers"] = [{"name": receiver["name"]} for receiver in said["receivers"]]
    return said


def _deployed(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((paths.ROOT / "deploy" / name).read_text())
    return read


def _written(path: Path, said: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(said), sort_keys=False))
    return path


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
