"""The cache: files are built once, by the first process, and never used incomplete."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ns3_scenarios.runtime import cache


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.ENVIRONMENT, str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(workshop: Path) -> Path:
    (workshop / "made").write_text("whole")
    return workshop / "made"


def refuse(workshop: Path) -> Path:
    raise AssertionError(f"built a second time in {workshop}")


def test_an_artefact_is_built_once_with_a_message(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = cache.built("a.so", write, "making a")
    assert built == place / "a.so"
    assert built.read_text() == "whole"
    said = capsys.readouterr()
    assert said.out == ""
    assert "making a" in said.err
    assert cache.built("a.so", refuse, "making a") == built
    assert capsys.readouterr().err == ""


def test_what_nobody_used_for_a_month_goes_when_something_is_built(place: Path) -> None:
    long_ago = time.time() - cache.UNUSED_S - 1
    for name in ("old.so", "still-used.so"):
        cache.built(name, write, "making it")
        os.utime(place / name, (long_ago, long_ago))
    cache.built("still-used.so", refuse, "making it")
    cache.built("new.so", write, "making it")
    assert set(cache.cache_info().artefacts) == {"still-used.so", "new.so"}
    assert not (place / "old.so.lock").exists()


def test_a_build_that_fails_leaves_nothing(place: Path) -> None:
    def fail(workshop: Path) -> Path:
        write(workshop)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        cache.built("a.so", fail, "making a")
    assert [path.name for path in place.iterdir() if path.suffix != ".lock"] == []
    assert cache.built("a.so", write, "making a").exists()


def test_what_a_killed_process_left_is_swept_away(place: Path) -> None:
    program = """
import os
from pathlib import Path
from ns3_scenarios.runtime import cache

def build(workshop: Path) -> Path:
    (workshop / "made").write_text("half")
    os.kill(os.getpid(), 9)
    return workshop

cache.built("a.so", build, "making a")
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert len(list(place.glob(".building-*"))) == 1
    assert cache.built("a.so", write, "making a").read_text() == "whole"
    assert list(place.glob(".building-*")) == []


def test_processes_that_come_at_once_build_once(place: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from ns3_scenarios.runtime import cache

def build(workshop: Path) -> Path:
    print("built")
    time.sleep(0.3)
    (workshop / "made").write_text("whole")
    return workshop / "made"

assert cache.built("a.so", build, "making a").read_text() == "whole"
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0, 0]
    assert sorted(said) == ["", "", "", "built\n"]
    assert (place / "a.so").read_text() == "whole"


def test_a_cache_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.ENVIRONMENT, str(tmp_path / "file" / "cache"))
    with pytest.raises(cache.CacheUnavailable, match="Not a directory"):
        cache.built("a.so", write, "making a")


def test_it_says_what_it_holds_and_is_cleared(place: Path) -> None:
    cache.built("a.so", write, "making a")
    cache.built("b.pch", write, "making b")
    assert cache.cache_info() == cache.CacheInfo(place, {"a.so": 5, "b.pch": 5})
    assert cache.clear_cache().artefacts == {"a.so": 5, "b.pch": 5}
    assert cache.cache_info().artefacts == {}


def test_an_empty_cache_holds_nothing(place: Path) -> None:
    assert cache.cache_info() == cache.CacheInfo(place, {})


def test_the_place_follows_the_xdg_rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cache.ENVIRONMENT)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.directory() == tmp_path / "xdg" / "collapipe-ns3"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    assert cache.directory() == tmp_path / ".cache" / "collapipe-ns3"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.directory() == tmp_path / ".cache" / "collapipe-ns3"


def test_a_digest_changes_with_any_fact() -> None:
    facts = {"versions": {"ns3": "3.44"}, "cpu": ["avx"]}
    assert cache.digest(facts) == cache.digest(dict(reversed(facts.items())))
    assert cache.digest(facts) != cache.digest({**facts, "cpu": ["avx", "avx2"]})
    assert cache.digest(facts) != cache.digest({**facts, "versions": {"ns3": "3.45"}})
