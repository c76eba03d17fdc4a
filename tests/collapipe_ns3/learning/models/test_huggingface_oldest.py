"""The tests of Hugging Face's models with the oldest supported version of `transformers`.

It needs other versions of packages than the newest one, so that both can't be installed in one
environment. It is installed once into a folder in the user's cache, and found first by a process of
its own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PINNED = HERE / "constraints-4.57.txt"
TESTS = {
    "models": [
        "learning/models/test_huggingface_cut.py",
        "learning/models/test_huggingface.py",
        "learning/test_lora.py",
    ],
    "engine": ["engine/test_every_model.py"],
}
#: Of the tests of the engine, those of models of the library, and not on all cuts and batches.
CHOSEN = "(bert or electra or bart or marian) and not recomputed and (uneven or not trains)"


def overlay() -> Path:
    """The folder with the pinned packages; installs them from the registry if it isn't there."""
    identity = hashlib.sha256(PINNED.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "collapipe-ns3"
    folder = cache / f"transformers-4.57-{identity}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "-r", str(PINNED)]
        subprocess.run([*install, "--target", f"{made}/packages"], check=True)
        try:
            Path(f"{made}/packages").rename(folder)
        except OSError:  # another process was faster
            assert folder.is_dir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("group", TESTS)
def test_all_tests_pass_with_transformers_4_57(group: str) -> None:
    path = os.pathsep.join([str(overlay()), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    version = [sys.executable, "-c", "import transformers; print(transformers.__version__)"]
    found = subprocess.run(version, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("4.57.")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if group == "engine":
        command += ["-k", CHOSEN]
    tests = subprocess.run(
        [*command, *(str(HERE.parents[1] / name) for name in TESTS[group])],
        env=environment,
        cwd=HERE.parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout[-4000:] + tests.stderr[-4000:]
