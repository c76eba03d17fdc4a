"""Two schemes with one seed begin with the same model, on the same batches, over the same links."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import studies
import torch

from collapipe_ns3 import Study
from collapipe_ns3.run.runner import Run

FADING = {"propagation": {"d2d": {"model": "p1411", "fading": "rayleigh"}, "d2e": {"model": "umi"}}}


def begun(scheme: str, seed: int = 1) -> Run:
    return Run(studies.config(scheme={"name": scheme}, seed=seed), torch.device("cpu"))


@pytest.mark.parametrize("scheme", ["vanilla_fl", "titanic", "collapipe", "local"])
def test_weights_and_batches_are_those_of_every_other_scheme(scheme: str) -> None:
    one, other, elsewhere = begun("pipeline"), begun(scheme), begun(scheme, seed=2)
    for name, tensor in one.state.model.state_dict().items():
        assert torch.equal(tensor, other.state.model.state_dict()[name])
    for number in range(3):
        batch, same, different = (next(run._batches(0, number)) for run in (one, other, elsewhere))
        assert torch.equal(batch.inputs[0], same.inputs[0])
        assert torch.equal(batch.labels[0], same.labels[0])
        assert not torch.equal(batch.inputs[0], different.inputs[0])


def test_links_gain_alike_in_every_round(tmp_path: Path) -> None:
    """Rounds of the two schemes take different times, but have the same fading."""
    study = Study.load(studies.write(tmp_path, rounds=3, **FADING))
    one, other = (
        study.run(scheme=scheme, out=tmp_path / scheme).links for scheme in ("pipeline", "titanic")
    )
    both = one.merge(other, on=["round", "src", "dst"])
    assert both.groupby(["src", "dst"], observed=True)["gain_db_x"].nunique().max() > 1
    pd.testing.assert_series_equal(both["gain_db_x"], both["gain_db_y"], check_names=False)
