"""What docs/integrator.md tells people to type works, in its order, against a running API."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ingest.api import errors
from mes.callers.model import Scope
from tests.api_server import Api, on_database, serving, settings_on

PAGE = Path(__file__).resolve().parents[2] / "docs/integrator.md"
# these are answered before it is known which call was meant
OF_NO_CALL = (errors.BadRequest, errors.NoSuchPath, errors.MethodNotAllowed)

_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (\d{3}) \| `(\w+)` \| (.+) \|$", re.MULTILINE)


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """A running API."""
    settings = settings_on(database_url, tmp_path)
    with serving(settings) as url, on_database(database_url) as engine:
        yield Api(url, engine, settings, [])


def test_every_command_of_the_page_works(api: Api, tmp_path: Path) -> None:
    blocks = _BLOCK.findall(PAGE.read_text())
    assert len(blocks) >= 9
    script = "".join(f"echo '== {number}'\n{block}\n" for number, block in enumerate(blocks))
    environment = {"MES_API": api.url, "MES_KEY": api.key("quick-start", Scope.PARTNER), "PATH": os.environ["PATH"]}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "['S-10482']\n['S-10483']\n" in run.stdout
    taken = [(number, "SUBMITTED") for number in ("S-10483", "S-20001", "S-20002")]
    assert orders(api.engine) == [("S-10482", "CANCELLED"), *taken]


def test_the_page_explains_every_code(api: Api) -> None:
    document = api.client(None).get("/openapi.json").json()
    api.clients.pop().close()
    answered = {
        (int(status), code)
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        for code in answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
    }
    answered |= {(error.http_status, error.code) for error in OF_NO_CALL}
    explained = _ROW.findall(PAGE.read_text())
    assert {(int(status), code) for status, code, _ in explained} == answered
    assert len(explained) == len(answered)


def orders(engine: Engine) -> list[tuple[str, str]]:
    """Number and status of all orders."""
    with engine.begin() as conn:
        rows = conn.execute(text("select external_id, status::text from ops.orders order by 1"))
        return [(number, status) for number, status in rows]
