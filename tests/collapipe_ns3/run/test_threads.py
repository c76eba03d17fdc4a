"""Studies in several threads of one process: they take turns at ns-3, round by round."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import studies

from collapipe_ns3 import Study
from collapipe_ns3.result import Result
from collapipe_ns3.run.replay import replay
from collapipe_ns3.schemes import SchemeFailed
from collapipe_ns3.topology.own_scenario import ScenarioFailed


def test_studies_in_threads_come_to_what_they_come_to_alone(tmp_path: Path) -> None:
    study = Study.load(studies.write(tmp_path))
    alone = [studies.finished(2, seed=seed) for seed in (1, 2)]

    def run(seed: int) -> Result:
        return study.run(seed=seed, out=tmp_path / f"beside{seed}")

    with ThreadPoolExecutor(4) as pool:
        beside = [pool.submit(run, seed) for seed in (1, 2)]
        plan = pool.submit(study.plan)
        again = pool.submit(replay, alone[0].directory, 1)
        for one, other in zip(alone, beside, strict=True):
            for table in ("transfers", "devices", "links"):
                frames = getattr(one, table), getattr(other.result(), table)
                pd.testing.assert_frame_equal(*frames, check_exact=True)
        assert plan.result() == study.plan()
        assert again.result().different == ()


def test_a_study_within_a_round_of_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end the simulation that its caller is running in."""
    monkeypatch.chdir(tmp_path)
    inner = Study.load(studies.write(tmp_path))

    def nested(progress: object) -> None:
        inner.run(out=tmp_path / "inner")

    with pytest.raises(BaseException, match="from within a round of another") as caught:
        inner.run(out=tmp_path / "outer", on_progress=nested)
    assert not isinstance(caught.value, SchemeFailed | ScenarioFailed)
    assert not (tmp_path / "inner").exists()
