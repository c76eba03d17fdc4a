"""The benchmark of recovery: a row for every policy, without a loss and with two of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import studies

from benchmarks.recovery import rows

THREE = ["raspberry-pi-4", {"profile": "phone-midrange", "position": [22, 14]}, "jetson-nano"]


@pytest.mark.slow
def test_rows_say_what_became_of_the_round(tmp_path: Path) -> None:
    study = studies.write(
        tmp_path,
        clusters=[{"cu": "jetson-nano", "position": [20, 10], "devices": THREE}],
        model={**studies.TINY["model"], "encoder_blocks": 4},
        training={"batch_size": 8, "local_steps": 3, "optimizer": "sgd"},
    )
    found = list(rows(study, "pipeline", "c0.d1", [], tmp_path))
    assert [(row.recovery, row.lost_in) for row in found] == [
        (recovery, lost_in)
        for recovery in ("abandon", "restart", "replicate, every 1", "replicate, every 2")
        for lost_in in ("–", "local step 1", "local step 2")
    ]
    fates = [row.fate for row in found]
    assert fates == ["averaged", "failed", "failed", *["averaged"] * 9]
    assert [row.repeated_steps for row in found[3:6]] == [0, 1, 2]
    # Copies after the first two of three steps, or after the second: of blocks only, as SGD has no
    # states, and the embedding is on the control unit.
    once, twice = found[9].copies_bytes, found[6].copies_bytes
    assert twice == 2 * once > 0
    assert [row.copies_bytes for row in found[:6]] == [0] * 6
