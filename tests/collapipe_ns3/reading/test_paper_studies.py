"""The studies at the paper's scale: what schemes are shown, and devices that lack memory."""

from __future__ import annotations

import pytest
import torch

from collapipe_ns3 import Study
from collapipe_ns3.run.planning import Planning
from collapipe_ns3.run.runner import Run

#: Encoder blocks, and the parameters of one, as the literature has them: the base model of
#: Vaswani et al. (2017), and BERT-base of Devlin et al. (2019).
BLOCKS = {"paper-transformer": (6, 3_152_384), "paper-bert": (12, 7_087_872)}


@pytest.mark.parametrize("name", BLOCKS)
def test_schemes_see_the_model_the_fleet_and_the_bands_of_the_paper(name: str) -> None:
    config = Study.load(name).config
    seen = Planning(config).observation()
    blocks, parameters = BLOCKS[name]
    assert seen.model.encoder_blocks == blocks
    assert {block.parameter_bytes for block in seen.model.blocks} == {4 * parameters}
    assert seen.model.width == 64 * config.model.heads  # the width of a head in both models
    assert [len(devices) for devices in seen.devices] == [4] * 4
    speeds = {seen.profiles[device].flops_per_s for row in seen.devices for device in row}
    assert (min(speeds), max(speeds)) == (12e9, 200e9)
    bands = [medium.bandwidth_hz for medium in seen.media]
    # 20 MHz without guard bands up and down; a quarter of 100 MHz for each cluster, likewise.
    assert bands == [18e6] * 2 + [22.5e6] * 4


def test_vanilla_fl_says_which_devices_cannot_hold_the_model() -> None:
    config = Study.load("paper-transformer", ["scheme.name=vanilla_fl"]).config
    plan = Run(config, torch.device("cpu")).plan()
    assert [absence.device for absence in plan.absences] == ["c0.d0", "c2.d0", "c3.d0"]
    assert all("MiB" in absence.reason for absence in plan.absences)
