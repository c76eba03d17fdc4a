"""VanillaFL: the whole model on every device that can hold it, and the others named."""

from __future__ import annotations

import lab
import pytest
from scheming import observation

from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.plan import Stage
from collapipe_ns3.prediction.memory import predict_memory, predict_whole_model
from collapipe_ns3.schemes.vanilla_fl import VanillaFL


def test_every_device_has_all_of_the_model_and_an_equal_share() -> None:
    made = VanillaFL().plan(0, observation([3, 2], 4))
    for cluster, size in zip(made.clusters, (3, 2), strict=True):
        for k, pipe in enumerate(cluster.pipelines):
            device = f"c{cluster.cluster}.d{k}"
            assert pipe.stages == (Stage(device, 0, 3),)
            assert pipe.embedding == pipe.decoder == device
            assert pipe.share == pytest.approx(1 / size)
    assert made.absences == ()


def test_a_device_that_cannot_hold_the_model_sits_out_and_is_told() -> None:
    needed = predict_whole_model(observation([3], 4), 4)
    seen = observation([3], 4, changed={"c0.d1": {"memory_bytes": needed - 1}})
    made = VanillaFL().plan(0, seen)
    assert [pipe.stages[0].device for pipe in made.clusters[0].pipelines] == ["c0.d0", "c0.d2"]
    assert [pipe.share for pipe in made.clusters[0].pipelines] == [0.5, 0.5]
    (absence,) = made.absences
    assert absence.device == "c0.d1"
    assert "the whole model needs" in absence.reason
    assert "c0.d1 sits out" in str(made)


def test_who_sits_out_may_be_one_too_much_for_another() -> None:
    """With thirds of the batch two devices hold the model; with halves only one of them does."""
    thirds, halves, all_of_it = (
        predict_whole_model(observation([3], 4), size) for size in (4, 6, 12)
    )
    memory = {"c0.d0": thirds - 1, "c0.d1": halves - 1, "c0.d2": all_of_it}
    changed = {node: {"memory_bytes": size} for node, size in memory.items()}
    made = VanillaFL().plan(0, observation([3], 4, changed=changed))
    assert [absence.device for absence in made.absences] == ["c0.d0", "c0.d1"]
    (pipe,) = made.clusters[0].pipelines
    assert (pipe.stages[0].device, pipe.share) == ("c0.d2", 1.0)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_a_whole_model_needs_is_predicted(optimizer: str) -> None:
    seen = observation([2], 4)
    made = VanillaFL().plan(0, seen)
    make = lab.adamw if optimizer == "adamw" else lab.Recording()
    outcome = lab.run_one(made, lab.fresh(make), local_steps=2)
    (pipe, _) = made.clusters[0].pipelines
    predicted = predict_memory(seen.model, pipe, BatchShape(6, 6, 6), OPTIMIZERS[optimizer])
    held = next(use for use in outcome.devices if use.device == "c0.d0")
    assert predicted["c0.d0"] == pytest.approx(held.peak_memory_bytes, rel=0.05)


def test_who_has_the_larger_part_of_an_uneven_batch_sets_what_is_needed() -> None:
    """Twelve sequences on five devices: two of them have three, which is counted for all."""
    needed = predict_whole_model(observation([5], 4), 3)
    seen = observation([5], 4, changed={"c0.d0": {"memory_bytes": needed - 1}})
    assert [absence.device for absence in VanillaFL().plan(0, seen).absences] == ["c0.d0"]
