"""The built site, and Chromium to look at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from headless import chromium as chromium

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-E", "-q", "-W", "--keep-going"]
    command += ["-d", str(tmp_path_factory.mktemp("doctrees")), str(ROOT / "docs"), str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out
