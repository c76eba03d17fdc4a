"""One of a cluster's three pipelines fails: the other two are averaged, and each fate is said."""

import lab
import pandas as pd
import pytest
import torch

from bridge.fixed import Link
from collapipe_ns3.cli.run_view import failure_lines
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.run.records import RoundRecord

SECOND = 1_000_000_000
DEVICES = ("c0.d0", "c0.d1", "c0.d2")


def whole(device: str) -> Pipeline:
    """A device that trains all of the model on a third of the data."""
    blocks = (Stage(device, 0, 3),)
    return Pipeline(blocks, 1, "gpipe", 1 / 3, embedding=device, decoder=device)


def vanilla(devices: tuple[str, ...]) -> RoundPlan:
    return RoundPlan(0, "test", (ClusterPlan(0, tuple(map(whole, devices))),))


UNREACHABLE = {
    ("c0.cu", "c0.d1"): Link(lab.FAST.rate_bps, outage_ns=(0, 99 * SECOND)),
}


def test_the_others_are_averaged_with_what_they_have_of_the_data() -> None:
    state = lab.fresh(lab.adamw)
    outcome = lab.run_one(vanilla(DEVICES), state, links=UNREACHABLE)
    assert [each.fate for each in outcome.pipelines] == ["averaged", "failed", "averaged"]
    assert [each.weight for each in outcome.pipelines] == pytest.approx([0.5, 0.0, 0.5])
    assert outcome.loss == pytest.approx(
        sum(each.weight * each.loss for each in outcome.pipelines if each.fate == "averaged")
    )
    assert outcome.abandoned == {}
    average = state.model.state_dict()
    models = [state.replica(0, index).model.state_dict() for index in (0, 2)]
    for name, tensor in average.items():
        torch.testing.assert_close(tensor, (models[0][name] + models[1][name]) / 2)


def test_the_reason_names_the_transfer_and_the_end_is_when_it_was_given_up() -> None:
    outcome = lab.run_one(vanilla(DEVICES), lab.fresh(lab.adamw), links=UNREACHABLE)
    averaged, failed, _ = outcome.pipelines
    assert failed.reason.startswith("c0.cu → c0.d1: model of ")
    assert averaged.reason == ""
    assert averaged.end_ns < 2 * SECOND <= failed.end_ns
    assert failed.loss != failed.loss


def test_the_tables_and_the_terminal_have_the_same() -> None:
    outcome = lab.run_one(vanilla(DEVICES), lab.fresh(lab.adamw), links=UNREACHABLE)
    tables = RoundRecord(vanilla(DEVICES), outcome, (), {}, 0, 0.0, 1).tables()
    assert [row["fate"] for row in tables["pipelines"]] == ["averaged", "failed", "averaged"]
    (row,) = tables["rounds"]
    assert row["failed_pipelines"] == 1
    assert row["abandoned"] == ""
    assert row["end_s"] == row["start_s"] + row["duration_s"]
    (line,) = failure_lines(pd.DataFrame(tables["pipelines"]))
    assert "pipeline 1 of cluster 0 (c0.d1) failed, the cluster's other 2 averaged" in line


def test_a_cluster_that_loses_all_of_them_is_abandoned() -> None:
    dead = {("bs", "c0.cu"): Link(lab.FAST.rate_bps, outage_ns=(0, 99 * SECOND))}
    outcome = lab.run_one(vanilla(DEVICES), lab.fresh(lab.adamw), links=dead)
    assert list(outcome.abandoned) == [0]
    tables = RoundRecord(vanilla(DEVICES), outcome, (), {}, 0, 0.0, 1).tables()
    (line,) = failure_lines(pd.DataFrame(tables["pipelines"]))
    assert "abandoned cluster 0: bs → c0.cu" in line


def test_late_pipelines_have_a_line_and_do_not_count_as_averaged() -> None:
    fates = {"failed": "lost", "late": "late at 1 s", "averaged": ""}
    rows = [
        {"round": 3, "cluster": 0, "pipeline": n, "devices": f"d{n}", "fate": f, "reason": why}
        for n, (f, why) in enumerate(fates.items())
    ]
    rows.append({**rows[1], "cluster": 1})
    assert list(failure_lines(pd.DataFrame(rows))) == [
        "[yellow]round 3[/]: pipeline 0 of cluster 0 (d0) failed, the cluster's other 1 averaged: "
        "lost",
        "[yellow]round 3[/]: pipeline 1 of cluster 0 (d1) was late, the cluster's other 1 "
        "averaged: late at 1 s",
        "[yellow]round 3[/]: pipeline 1 of cluster 1 (d1) was late: late at 1 s",
    ]
