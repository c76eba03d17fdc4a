"""Libraries for text and pretrained models are loaded only where a study uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import studies
import yaml

HEAVY = ("transformers", "peft", "tokenizers", "sklearn", "datasets")

#: Ends a program: prints which of the heavy libraries, and torch, it has loaded.
REPORT = (
    f"import json; found = sorted({{*{HEAVY}, 'torch'}} & set(sys.modules)); "
    "print(json.dumps(found), file=sys.__stderr__)"
)


def loaded(code: str) -> list[str]:
    program = f"import sys\n{code}\n{REPORT}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


def test_importing_the_package_loads_neither_them_nor_torch() -> None:
    assert loaded("import collapipe_ns3") == []


@pytest.mark.parametrize("command", [["--help"], ["tasks"], ["schemes"], ["studies"], ["schema"]])
def test_commands_that_only_look_up_load_neither_them_nor_torch(command: list[str]) -> None:
    run = f"from collapipe_ns3.__main__ import main; sys.argv[1:] = {command}"
    assert loaded(f"{run}\ntry: main()\nexcept SystemExit: pass") == []


def test_planning_of_the_generated_numbers_loads_neither_them_nor_torch(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(studies.TINY))
    assert loaded(f"import collapipe_ns3; collapipe_ns3.Study.load({str(study)!r}).plan()") == []


@pytest.mark.slow
def test_a_run_of_the_generated_numbers_loads_none_of_them(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(studies.TINY))
    out = str(tmp_path / "out")
    run = (
        f"import collapipe_ns3; collapipe_ns3.Study.load({str(study)!r}).run(rounds=1, out={out!r})"
    )
    assert loaded(run) == ["torch"]
