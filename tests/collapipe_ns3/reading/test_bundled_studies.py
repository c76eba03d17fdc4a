"""The bundled studies with every scheme: rounds are completed, and the loss falls."""

from __future__ import annotations

from pathlib import Path

import pytest

from collapipe_ns3 import Study

SCHEMES = ("pipeline", "vanilla_fl", "titanic", "local", "collapipe")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("study", ["dense-interference", "mobile"])
def test_every_scheme_trains(study: str, scheme: str, tmp_path: Path) -> None:
    rounds = Study.load(study).run(scheme=scheme, rounds=2, out=tmp_path / "run").rounds
    assert rounds["abandoned"].tolist() == ["", ""]
    assert rounds["loss"][1] < rounds["loss"][0]
