"""A run whose deadline keeps late work: it is recorded, replayed and resumed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import studies

from collapipe_ns3 import Study
from collapipe_ns3.result import Result
from collapipe_ns3.run.replay import replay


def study(
    folder: Path,
    deadline: dict[str, Any] | None,
    devices: tuple[str, ...] = ("raspberry-pi-4",),
    faults: dict[str, Any] | None = None,
    **training: Any,
) -> Study:
    """Two clusters, of which the second is farther from the base station."""
    near = studies.TINY["clusters"][0]
    far = {**copy.deepcopy(near), "position": [20, 300], "devices": list(devices)}
    training = {**studies.TINY["training"], **training}
    training |= {"deadline": deadline} if deadline else {}
    folder.mkdir(exist_ok=True)
    path = studies.write(
        folder, clusters=[near, far], training=training, rounds=4, faults=faults or {}
    )
    return Study.load(path, scheme="pipeline")


def late_deadline(whole: Result) -> tuple[int, dict[str, Any]]:
    """The last cluster of a run's first round, and a deadline in the middle of its upload."""
    ends = whole.pipelines.set_index("cluster")["end_s"]
    last = int(ends.idxmax())
    up = whole.transfers.query(f"src == 'c{last}.cu' and dst == 'bs' and kind == 'parameters'")
    start_s, end_s = up["start_s"].iloc[-1], up["end_s"].iloc[-1]
    first = float(ends.drop(last).iloc[0])
    assert max(first, start_s) < end_s
    sounded_s = whole.rounds["sounding_s"].iloc[0]
    after_s = float((max(first, start_s) + end_s) / 2 - sounded_s)
    return last, {"after_s": after_s, "quorum": 0.5, "late": "keep"}


@pytest.mark.slow
def test_late_work_arrives_in_the_next_round_also_in_replays_and_after_a_resume(
    tmp_path: Path,
) -> None:
    whole = study(tmp_path / "a", None).run(rounds=1, out=tmp_path / "whole")
    last, deadline = late_deadline(whole)

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


@pytest.mark.slow
def test_control_variates_of_late_work_move_with_their_units_also_in_replays(
    tmp_path: Path,
) -> None:
    """c1.d1 is away at first, and takes a block over after the late work has arrived."""
    how: dict[str, Any] = {
        "devices": ("raspberry-pi-4", "raspberry-pi-4"),
        "faults": {"nodes": [{"nodes": ["c1.d1"], "away_s": [[0, 1e-3]]}]},
        "optimizer": "sgd",
        "aggregation": "scaffold",
    }
    last, deadline = late_deadline(
        study(tmp_path / "a", None, **how).run(rounds=1, out=tmp_path / "whole")
    )
    assert last == 1
    kept = study(tmp_path / "b", deadline, **how).run(rounds=3, out=tmp_path / "kept")
    rows = kept.pipelines.query("cluster == 1")
    assert list(rows["fate"])[:2] == ["late", "averaged"]
    assert list(rows["devices"])[::2] == ["c1.d0", "c1.d0 → c1.d1"]
    moved = kept.transfers.query("round == 2 and src == 'c1.d0' and kind == 'parameters'")
    assert list(moved["dst"]) == ["c1.cu"] * 2  # the variate for c1.d1, and what is trained
    for number in range(3):
        assert replay(tmp_path / "kept", number).different == (), number
