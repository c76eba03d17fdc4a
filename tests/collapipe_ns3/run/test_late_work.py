"""A run whose deadline keeps late work: it is recorded, replayed and resumed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import studies

from collapipe_ns3 import Study
from collapipe_ns3.run.replay import replay


def study(folder: Path, deadline: dict[str, Any] | None) -> Study:
    """Two clusters, of which the second is farther from the base station."""
    near = studies.TINY["clusters"][0]
    far = {**copy.deepcopy(near), "position": [20, 300], "devices": ["raspberry-pi-4"]}
    training = {**studies.TINY["training"], **({"deadline": deadline} if deadline else {})}
    folder.mkdir(exist_ok=True)
    path = studies.write(folder, clusters=[near, far], training=training, rounds=4)
    return Study.load(path, scheme="pipeline")


@pytest.mark.slow
def test_late_work_arrives_in_the_next_round_also_in_replays_and_after_a_resume(
    tmp_path: Path,
) -> None:
    whole = study(tmp_path / "a", None).run(rounds=1, out=tmp_path / "whole")
    ends = whole.pipelines.set_index("cluster")["end_s"]
    last = ends.idxmax()
    up = whole.transfers.query(f"src == 'c{last}.cu' and dst == 'bs' and kind == 'parameters'")
    start_s, end_s = up["start_s"].iloc[-1], up["end_s"].iloc[-1]
    first = float(ends.drop(last).iloc[0])
    assert max(first, start_s) < end_s
    sounded_s = whole.rounds["sounding_s"].iloc[0]
    after_s = float((max(first, start_s) + end_s) / 2 - sounded_s)
    deadline = {"after_s": after_s, "quorum": 0.5, "late": "keep"}

    made = study(tmp_path / "b", deadline)
    kept = made.run(rounds=3, out=tmp_path / "kept")
    fates = kept.pipelines.set_index(["round", "cluster"])["fate"]
    assert fates[0, last] == "late"
    assert fates[1, last] == "averaged"
    own = kept.transfers.query(f"round == 1 and src == 'c{last}.cu'")
    cut = kept.transfers.query(f"round == 0 and src == 'c{last}.cu' and outcome == 'cut'")
    assert own["bytes"].sum() == cut["lost_bytes"].sum()
    for number in range(3):
        assert replay(tmp_path / "kept", number).different == (), number

    made.run(rounds=1, out=tmp_path / "parts")
    parts = made.run(rounds=3, out=tmp_path / "parts", resume=True)
    for name in ("rounds", "pipelines", "transfers"):
        one, other = getattr(parts, name), getattr(kept, name)
        same = [key for key in one.columns if "wall" not in key]
        assert one[same].equals(other[same]), name
