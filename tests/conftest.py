"""What all tests share: the real data set, where it is present."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real orders and meshes; skips the test, saying so, where it is absent."""
    root = Path(os.environ.get("MES_TEST_DATA", "../shared/data"))
    root = root if root.is_absolute() else (REPOSITORY / root).resolve()
    if not root.is_dir():
        pytest.skip(f"real data set not found at {root}; set MES_TEST_DATA to its folder to run this test")
    return root
