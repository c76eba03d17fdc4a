"""If ns-3 or a crash ends the process: a message, exit code 1, and the rounds before are kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import studies
import yaml

import analysis
from collapipe_ns3 import campaign
from collapipe_ns3.campaign import CampaignRun, workers

#: A network like the study's own, in whose second round something happens after a tenth of it.
FALLING = """
from collections.abc import Mapping
from functools import cache
import ns3_scenarios.network
from ns3_scenarios import runtime

@cache
def code():
    import cppyy
    cppyy.cppdef('''
    #include "ns3/core-module.h"
    #include <stdexcept>
    namespace falling {
    void fatal() { NS_FATAL_ERROR("the mast\\\\nfell"); }
    void crash() { *static_cast<volatile int*>(nullptr) = 1; }
    void raised() { throw std::runtime_error("no mast"); }
    void Later(void (*what)()) { ns3::Simulator::Schedule(ns3::MilliSeconds(5), what); }
    }
    ''')
    return cppyy.gbl.falling

def build(spec, what: str):
    network = ns3_scenarios.network.build(spec)
    if spec.start_ns:
        code().Later(getattr(code(), what))
    return network
"""


def write(folder: Path, what: str) -> Path:
    """A study whose second round ends the process in this way."""
    (folder / "falling.py").write_text(FALLING)
    scenario = {"function": "falling:build", "settings": {"what": what}}
    return Path(studies.write(folder, scenario=scenario))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("fatal", "ns-3 ends the process: the mast\nfell"),
        ("crash", "the process crashed: Segmentation fault"),
        ("raised", "no mast"),
    ],
)
def test_an_end_within_a_round_is_reported_and_the_rounds_before_it_are_kept(
    what: str, says: str, tmp_path: Path
) -> None:
    study = write(tmp_path, what)
    words = [sys.executable, "-m", "collapipe_ns3", "run", str(study), "--json", "--out", "run"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["ok"], printed["study"]) == (False, str(study))
    error = printed["error"]
    assert error.startswith("scenario falling:build, round 1")
    assert "simulated time 0.005000000 s" in error
    assert says in error
    assert error in done.stderr
    assert "Traceback" not in done.stderr
    assert "stack" not in done.stderr.lower()
    assert len(done.stderr.splitlines()) < 12  # a dump of stacks has hundreds
    assert analysis.load(tmp_path / "run").rounds["round"].tolist() == [0]


def test_a_campaign_reports_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = yaml.safe_load(write(tmp_path, "fatal").read_text())
    monkeypatch.chdir(tmp_path)
    (run,) = campaign.plan_runs(
        str(tmp_path / "tiny.yaml"), (), schemes=["pipeline"], seeds=[1], grid={}, rounds=None
    )
    assert isinstance(run, CampaignRun)
    assert study["rounds"] == 2
    planned = campaign.create("tiny.yaml", (run,), tmp_path / "out")
    (ended,) = workers.run_here(planned, 1)
    assert "round 1, simulated time 0.005000000 s: ns-3 ends the process" in ended.error


def test_outside_a_simulation_a_crash_is_what_it_always_was() -> None:
    program = """
import os, signal
from ns3_scenarios import runtime
with runtime.last_words("counting"):
    pass
signal.signal(signal.SIGABRT, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGABRT)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGABRT
    assert b"counting" not in done.stderr


def test_the_words_of_a_process_are_not_those_of_its_copies() -> None:
    program = """
import os, sys
from ns3_scenarios import runtime
with runtime.reporting(descriptor=1, before="{", after="}"), runtime.last_words("counting"):
    child = os.fork()
    if child == 0:
        os.abort()
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    os.abort()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 1, os.fsdecode(done.stderr)
    assert done.stdout == b"{counting, simulated time 0.000000000 s: the process crashed: Aborted}"
