"""Thousands of requests made from `/openapi.json`, good and bad, find no answer that it does not promise."""

import subprocess
import sys
from pathlib import Path

import pytest

from mes.callers.model import Scope
from tests.api_server import Api, with_model

# ids of models, quotes and orders that were made up belong to nothing: what is well formed is refused all the same
NOT_CHECKED = "positive_data_acceptance,ensure_resource_availability,use_after_free"
REQUESTS_PER_CALL = 15
TIME_S = 100


@pytest.mark.slow
def test_no_request_gets_an_answer_that_is_not_promised(api: Api, tmp_path: Path) -> None:
    key = api.key("fuzz", Scope.PARTNER)
    with_model(api.client(key))
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}"),
            *("--phases", "examples,coverage,fuzzing"),
            *("--exclude-checks", NOT_CHECKED),
            *("--exclude-path", "/v1/orders:batch"),  # it cannot write lines of JSON
            *("--max-examples", str(REQUESTS_PER_CALL), "--max-time", str(TIME_S), "--seed", "20261122"),
            *("--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "22 passed" in run.stdout
