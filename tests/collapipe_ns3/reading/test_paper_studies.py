"""The studies at the paper's scale: their sizes, and whom the whole model doesn't fit."""

from __future__ import annotations

import pytest
import torch

from collapipe_ns3 import Study
from collapipe_ns3.run.runner import Run

SIZES = {
    "paper-transformer": (512, 8, 2048, 6, 6),
    "paper-bert": (768, 12, 3072, 12, 1),
}


@pytest.mark.parametrize("name", SIZES)
def test_their_models_and_fleets_are_those_of_the_paper(name: str) -> None:
    config = Study.load(name).config
    model = config.model
    blocks = (model.encoder_blocks, model.decoder_blocks)
    assert (model.width, model.heads, model.feed_forward, *blocks) == SIZES[name]
    assert [len(cluster.devices) for cluster in config.clusters] == [4] * 4
    speeds = {d.device_profile().flops_per_s for c in config.clusters for d in c.devices}
    assert (min(speeds), max(speeds)) == (12e9, 200e9)
    assert config.radio.d2e.spec().bandwidth_hz == 18e6  # of 20 MHz, guard bands left out
    assert config.fidelity == "sampled"


def test_vanilla_fl_says_which_devices_cant_hold_the_model() -> None:
    config = Study.load("paper-transformer", ["scheme.name=vanilla_fl"]).config
    plan = Run(config, torch.device("cpu")).plan()
    assert [absence.device for absence in plan.absences] == ["c0.d0", "c2.d0", "c3.d0"]
    assert all("MiB" in absence.reason for absence in plan.absences)
