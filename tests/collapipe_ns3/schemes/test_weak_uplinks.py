"""Uplinks short of power, together on one band: what is predicted is what ns-3 does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import studies

from collapipe_ns3 import Study


def test_uplinks_short_of_power_share_a_band_as_predicted(tmp_path: Path) -> None:
    """Each has its power in a third of the band, which carries far more than a third."""
    clusters = [
        {"cu": "jetson-nano", "position": place, "devices": ["phone-flagship", "jetson-nano"]}
        for place in ([100, 0], [-100, 0], [0, 100])
    ]
    study = studies.write(
        tmp_path,
        clusters=clusters,
        model={"width": 64, "heads": 4, "feed_forward": 256, "encoder_blocks": 4},
        radio={"d2d": {"reuse": 3}},
        scheme={"name": "collapipe", "settings": {"bands": "shared", "exchange": "star"}},
    )
    Study.load(study).run(rounds=1, out=tmp_path / "run")
    told = json.loads((tmp_path / "run" / "plans.jsonl").read_text())["explanation"]["measured"]
    upload = next(each for each in told if each["what"] == "upload_s")
    assert upload["predicted"] == pytest.approx(upload["measured"], rel=0.05)  # 20 % without
