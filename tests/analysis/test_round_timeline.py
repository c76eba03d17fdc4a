"""The bars of a round, the phases of its pipelines, and how long each node waits."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import studies
from synthetic_runs import write_run

import analysis
from analysis.round_timeline import (
    BAR_COLUMNS,
    COMPUTE,
    WAIT,
    bubble_shares,
    merged,
    nodes_in_order,
    pipeline_phases,
    round_bars,
    round_phases,
    slowest_round,
)
from collapipe_ns3 import Study


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> analysis.Runs:
    folder = tmp_path_factory.mktemp("runs")
    training = {"batch_size": 8, "local_steps": 2}
    study = Study.load(studies.write(folder, training=training))
    return analysis.load(study.run(out=folder / "run").directory)


def _bars(*rows: tuple[str, str, float, float, int, int]) -> pd.DataFrame:
    """Computations as bars: node, action, start, end, cluster, stage."""
    columns = ["node", "kind", "start_s", "end_s", "cluster", "stage"]
    return pd.DataFrame(rows, columns=columns).assign(
        track=COMPUTE, pipeline=[0 if row[4] >= 0 else -1 for row in rows]
    )


def test_every_computation_is_a_bar_and_every_transfer_two(run: analysis.Runs) -> None:
    bars = round_bars(run, 1)
    assert tuple(bars.columns) == BAR_COLUMNS
    computes = run.computes[run.computes["round"] == 1]
    transfers = run.transfers[run.transfers["round"] == 1]
    compute = bars[bars["track"] == COMPUTE]
    key = ["node", "kind", "start_s", "end_s"]
    expected = computes.rename(columns={"action": "kind"})[key].astype({"node": str, "kind": str})
    pd.testing.assert_frame_equal(
        compute[key].sort_values(key, ignore_index=True),
        expected.sort_values(key, ignore_index=True),
        check_dtype=False,
    )
    for direction, end in (("sent", "src"), ("received", "dst")):
        moved = bars[bars["track"].str.endswith(f" {direction}")]
        assert len(moved) == len(transfers)
        assert moved.groupby("node")["bytes"].sum().to_dict() == (
            transfers.groupby(transfers[end].astype(str))["bytes"].sum().to_dict()
        )
        of_row = ["start_s", "end_s", "bytes", "retransmissions", "outcome"]
        in_order = moved.sort_values("transfer", ignore_index=True)
        assert in_order["transfer"].tolist() == list(range(len(transfers)))
        recorded = transfers[of_row].astype({"outcome": str}).reset_index(drop=True)
        pd.testing.assert_frame_equal(in_order[of_row], recorded, check_dtype=False)
    start_s = float(run.rounds["start_s"].iloc[1])
    assert bars["start_in_round_s"].min() == 0
    difference_s = bars["start_s"] - bars["start_in_round_s"] - start_s
    assert difference_s.abs().max() < 1e-9


def test_computing_and_waiting_fill_the_pipeline_phase_without_overlap(run: analysis.Runs) -> None:
    bars = round_bars(run, 0)
    phases = pipeline_phases(bars)
    shares = bubble_shares(bars).set_index("node")
    assert set(shares.index) == set(bars[bars["stage"] >= 0]["node"])
    for node in shares.index:
        own = bars[(bars["node"] == node) & bars["track"].isin([COMPUTE, WAIT])]
        own = own[own["kind"] != "aggregate"].sort_values("start_s")
        assert (own["start_s"].iloc[1:].to_numpy() >= own["end_s"].iloc[:-1].to_numpy()).all()
        lengths_s = own["end_s"] - own["start_s"]
        assert lengths_s.sum() == pytest.approx(shares["phase_s"][node], abs=1e-9)
        waiting_s = lengths_s[own["kind"] == WAIT].sum()
        assert waiting_s / shares["phase_s"][node] == pytest.approx(shares["bubble_share"][node])
        assert own["start_s"].min() >= phases["start_s"].min()
        assert own["end_s"].max() <= phases["end_s"].max()


def test_local_steps_and_micro_batches_are_numbered(run: analysis.Runs) -> None:
    bars = round_bars(run, 0)
    trained = bars[(bars["track"] == COMPUTE) & (bars["stage"] >= 0)]
    assert sorted(trained["step"].unique()) == [0, 1]
    for _, stage in trained.groupby(["node", "cluster", "stage"]):
        in_time = stage.sort_values("start_s", kind="stable")
        assert in_time["step"].is_monotonic_increasing
        assert (in_time[in_time["kind"] == "step"]["step"].tolist()) == [0, 1]


def test_bubble_share_of_a_pipeline_computed_by_hand() -> None:
    """Two stages of 1 s in 4 s; the first computes 2 s in pieces that touch, the other 1.5 s."""
    bars = _bars(
        ("c0.cu", "F", 10.0, 11.0, 0, 0),
        ("c0.cu", "B", 11.0, 11.5, 0, 0),
        ("c0.cu", "step", 13.5, 14.0, 0, 0),
        ("c0.d0", "F", 11.0, 12.5, 0, 1),
        ("bs", "aggregate", 15.0, 16.0, -1, -1),
    )
    shares = bubble_shares(bars).set_index("node")
    assert shares["phase_s"].tolist() == [4.0, 4.0]
    assert shares["computing_s"].to_dict() == {"c0.cu": 2.0, "c0.d0": 1.5}
    assert shares["bubble_share"].to_dict() == {"c0.cu": 0.5, "c0.d0": 0.625}


def test_a_node_of_two_pipelines_waits_only_while_one_of_them_trains() -> None:
    bars = _bars(
        ("c0.d0", "F", 0.0, 2.0, 0, 1),
        ("c1.d0", "F", 3.0, 7.0, 1, 1),
        ("bs", "F", 1.0, 2.0, 0, 2),
        ("bs", "F", 6.0, 7.0, 1, 2),
    )
    shares = bubble_shares(bars).set_index("node")
    assert shares["phase_s"]["bs"] == 6.0
    assert shares["bubble_share"]["bs"] == pytest.approx(4 / 6)
    assert shares["cluster"].to_dict() == {"c0.d0": 0, "c1.d0": 1, "bs": -1}


def test_nodes_are_ordered_by_cluster_and_stage_and_base_stations_are_last() -> None:
    bars = _bars(
        ("bs", "F", 0.0, 1.0, 0, 3),
        ("bs1", "F", 0.0, 1.0, 0, -1),
        ("c10.d0", "F", 0.0, 1.0, 10, 1),
        ("c2.d10", "F", 0.0, 1.0, 2, 1),
        ("c2.d9", "F", 0.0, 1.0, 2, 2),
        ("c2.cu", "F", 0.0, 1.0, 2, 0),
        ("c2.d1", "F", 0.0, 1.0, 2, -1),
        ("jammer", "F", 0.0, 1.0, -1, -1),
    )
    expected = ["c2.cu", "c2.d10", "c2.d9", "c2.d1", "c10.d0", "jammer", "bs", "bs1"]
    assert nodes_in_order(bars) == expected


def test_union_of_intervals() -> None:
    assert merged([(5, 7), (0, 2), (2, 3), (6, 6), (6, 9), (9, 9)]) == [(0, 3), (5, 9)]
    assert merged([]) == []


def test_phases_fill_the_round(run: analysis.Runs) -> None:
    phases = round_phases(run, 1)
    duration_s = float(run.rounds["duration_s"].iloc[1])
    assert phases["phase"].tolist()[:3] == ["sounding", "broadcast", "pipeline"]
    assert phases["start_s"].iloc[0] == 0
    assert phases["end_s"].iloc[-1] == pytest.approx(duration_s, abs=1e-9)
    assert phases["start_s"].tolist()[1:] == pytest.approx(phases["end_s"].tolist()[:-1])


def test_the_slowest_round_is_found(run: analysis.Runs) -> None:
    durations = dict(zip(run.rounds["round"], run.rounds["duration_s"], strict=True))
    assert durations[slowest_round(run)] == max(durations.values())


def test_an_unknown_round_is_refused_with_those_that_there_are(run: analysis.Runs) -> None:
    with pytest.raises(ValueError, match="no round 7; it has the rounds 0 to 1"):
        round_bars(run, 7)


def test_directories_of_earlier_versions_get_steps_from_the_order(
    run: analysis.Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `pipeline` and `step` in the table, both are as where they were recorded."""
    recorded = round_bars(run, 0)
    whole = analysis.Runs.table

    def without(self: analysis.Runs, name: str, **options: object) -> pd.DataFrame:
        table = whole(self, name, **options)  # type: ignore[arg-type]
        return table.drop(columns=[c for c in ("pipeline", "step") if c in table])

    monkeypatch.setattr(analysis.Runs, "table", without)
    derived = round_bars(run, 0)
    computes = recorded["track"] == COMPUTE
    columns = ["node", "kind", "micro_batch", "pipeline", "step", "start_s"]
    pd.testing.assert_frame_equal(derived[computes][columns], recorded[computes][columns])


def test_clusters_of_transfers_follow_from_names_where_they_were_not_recorded(
    tmp_path: Path,
) -> None:
    transfers = [
        {"src": "c3.cu", "dst": "bs", "start_s": 0.1, "end_s": 0.2},
        {"src": "bs", "dst": "c4.cu", "start_s": 0.3, "end_s": 0.4},
    ]
    places = ("cluster", "pipeline", "stage", "micro_batch", "step")
    without = [f"transfers.{key}" for key in places]
    path = write_run(tmp_path / "run", transfers=transfers, without=without)
    bars = round_bars(analysis.load(path), 0)
    assert bars.groupby("node")["cluster"].apply(list).to_dict() == {
        "bs": [3, 4],
        "c3.cu": [3],
        "c4.cu": [4],
    }
    assert (bars[["pipeline", "stage", "micro_batch", "step"]] == -1).all(axis=None)
