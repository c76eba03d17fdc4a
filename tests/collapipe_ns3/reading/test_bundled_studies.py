"""The bundled studies with every scheme: rounds are completed, and the loss falls."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from collapipe_ns3 import Study
from collapipe_ns3.problems import StudyError

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


@pytest.mark.slow
def test_vehicles_change_their_station_and_train(tmp_path: Path) -> None:
    result = Study.load("vehicular", ["task.test_size=50"]).run(rounds=2, out=tmp_path / "run")
    assert result.rounds["abandoned"].tolist() == ["", ""]
    assert result.rounds["loss"][1] < result.rounds["loss"][0]
    changes = result.handovers
    assert len(changes) > 0
    assert set(changes["from_station"]) | set(changes["to_station"]) == {"bs", "bs1"}
    for _, of_unit in changes.groupby("node", observed=True):
        ends = of_unit["to_station"].astype(str).tolist()[:-1]
        assert ends == of_unit["from_station"].astype(str).tolist()[1:]


def test_vehicles_drive_by_the_bundled_trace() -> None:
    study = Study.load("vehicular")
    for cluster in study.config.clusters:
        assert cluster.cu.motion is not None
        assert cluster.cu.motion.kind == "way"
    assert study.config.radio.handover is not None
    with pytest.raises(StudyError, match="fidelity: expected packet: sampled is for"):
        Study.load("vehicular", ["fidelity=sampled"])


@pytest.mark.slow
@pytest.mark.parametrize("study", ["intents", "ner", "translation"])
def test_a_study_of_text_trains_on_generated_data(study: str, tmp_path: Path) -> None:
    small = ["training.local_steps=8", "task.evaluate_size=50"]
    rounds = Study.load(study, small).run(rounds=2, out=tmp_path / "run").rounds
    assert rounds["abandoned"].tolist() == ["", ""]
    assert rounds["test_loss"][1] < rounds["test_loss"][0]


@pytest.mark.slow
def test_the_study_of_bert_trains_smaller_too(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    sizes = ["model.width=32", "model.heads=2", "model.feed_forward=64", "model.encoder_blocks=4"]
    rounds = Study.load("bert", sizes).run(rounds=1, out=tmp_path / "run").rounds
    assert rounds["abandoned"].tolist() == [""]
    assert math.isfinite(rounds["test_loss"][0])


def test_the_study_of_bert_has_the_sizes_of_bert_base() -> None:
    model = Study.load("bert").config.model
    sizes = (model.encoder_blocks, model.width, model.heads, model.feed_forward)
    assert (model.name, *sizes) == ("bert", 12, 768, 12, 3072)


#: A process in which a package can't be found: `importlib.util.find_spec` gives None.
HIDDEN = """
import sys
sys.modules["transformers"] = None
from collapipe_ns3.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("arguments", "code"), [(["studies"], 0), (["validate", "bert"], 2), (["run", "bert"], 2)]
)
def test_without_transformers_bert_is_listed_and_refused_with_the_way_to_install_it(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HIDDEN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == code, done.stderr
    if code:
        assert "pip install 'collapipe-ns3[hf]'" in done.stderr.replace("\n", " ")
    else:
        assert "bert" in done.stdout
