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
    # Of the 500 phrases to test on a few: that takes as long as training does.
    loaded = Study.load(study, ["task.test_size=50"])
    rounds = loaded.run(scheme=scheme, rounds=2, out=tmp_path / "run").rounds
    assert rounds["abandoned"].tolist() == ["", ""]
    assert rounds["loss"][1] < rounds["loss"][0]
