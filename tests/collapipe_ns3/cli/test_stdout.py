"""Standard output has one JSON object, whatever plug-ins print; write errors are reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import plugging
import pytest
import studies

NOISY = """\
    print("imported")
    import atexit
    atexit.register(print, "leaving")
    sys.__stdout__.write("original\\n")
    def plan(self, round, observation):
        import os, cppyy
        print("planning")
        os.write(1, b"bare descriptor\\n")
        os.system("echo from a child")
        cppyy.gbl.std.cout.write("from C++\\n", 9).flush()
        return super().plan(round, observation)
    def learn(self, outcome):
        sys.stdout.write("learning\\n")
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "collapipe_ns3", *arguments]


@pytest.mark.slow
def test_what_a_plug_in_prints_goes_to_stderr(tmp_path: Path) -> None:
    plugging.install(tmp_path, NOISY)
    study = studies.write(tmp_path, scheme="mine", rounds=1)
    done = subprocess.run(
        command("run", study, "--json", "--out", str(tmp_path / "run")),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scheme"] == "mine"
    inside = ("planning", "bare descriptor", "from a child", "from C++", "learning")
    for line in ("imported", "original", *inside, "leaving"):
        assert f"{line}\n" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["schema"], ["show", "quickstart", "--json"]])
def test_a_full_device_is_reported_in_words(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "standard output can't be written: No space left on device\n"


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(closing: str) -> None:
    words = [sys.executable, "-m", "collapipe_ns3", "schema", closing]
    done = subprocess.run(" ".join(words), shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closing == "2>&-")


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    with subprocess.Popen(
        command("schema"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert "Traceback" not in running.stderr.read()
