"""Mobility traces of a study: the mapping of nodes, and the nodes that do not move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import studies

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.problems import StudyError
from collapipe_ns3.reading import mobility_trace, study_file
from collapipe_ns3.reading.mobility_trace import MOST_CORNERS
from collapipe_ns3.reading.yaml_text import MOST_VALUES
from collapipe_ns3.topology import layout
from ns3_scenarios.mobility import Point, Trajectory
from ns3_scenarios.scenario import ScenarioSpec


def walk(count: int, first: int = 0, height_m: float = 1.5) -> str:
    """An ns-2 file of this number of nodes that walk east, each a metre north of the last."""
    lines = []
    for n in range(first, first + count):
        lines += [f"$node_({n}) set X_ 10", f"$node_({n}) set Y_ {n}"]
        lines += [f"$node_({n}) set Z_ {height_m}"]
        lines += [f'$ns_ at 1.0 "$node_({n}) setdest 20 {n} 2"']
    return "\n".join(lines)


def resolved(folder: Path, mobility: Any, text: str, **changes: Any) -> ScenarioSpec:
    (folder / "walk.tcl").write_text(text)
    config = study_file.read(studies.write(folder, mobility=mobility, **changes))
    assert study_file.parse("kept", study_file.dump(config)) == config
    return layout.scenario(config, 1, 0)


def problems(folder: Path, mobility: Any, text: str) -> dict[str, str]:
    (folder / "walk.tcl").write_text(text)
    with pytest.raises(StudyError) as caught:
        study_file.read(studies.write(folder, mobility=mobility))
    return {each.path: each.message for each in caught.value.problems}


def begins(spec: ScenarioSpec) -> dict[str, Point]:
    return {node.name: node.position for node in spec.nodes if isinstance(node.motion, Trajectory)}


def test_node_0_of_a_file_is_the_first_control_unit_and_no_base_station_moves(
    tmp_path: Path,
) -> None:
    """If the file has more nodes than the study, the further nodes are ignored."""
    spec = resolved(tmp_path, "walk.tcl", walk(50), stations=[{"position": [400, 0]}])
    assert begins(spec) == {f"c0.{x}": (10, n, 1.5) for n, x in enumerate(("cu", "d0", "d1"))}
    assert spec.bs.position == (0, 0, 10)
    assert spec.bs.motion is None


def test_a_mapping_takes_some_nodes_of_a_file_elsewhere_and_later(tmp_path: Path) -> None:
    mobility = {
        "trace": "walk.tcl",
        "nodes": {"c0.d1": 30, "bs": "7"},
        "offset_m": ["1 km", -5],
        "scale": 2,
        "time_shift_s": "-1 s",
        "height_m": 3,
        "heights_m": {"bs": 12},
    }
    spec = resolved(tmp_path, mobility, walk(50, height_m=0.0))
    assert begins(spec) == {"c0.d1": (1020, 55, 3), "bs": (1020, 9, 12)}
    way = spec.clusters[0].devices[1].motion
    assert isinstance(way, Trajectory)
    assert way.corners == ((0, 1020, 55, 3), (5, 1040, 55, 3))


def test_a_resolved_study_with_as_many_corners_as_there_may_be_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mobility_trace, "MOST_CORNERS", 6)
    resolved(tmp_path, "walk.tcl", walk(2))
    found = problems(tmp_path, "walk.tcl", walk(3))
    assert "at most 6 corners of this study's nodes, not 9" in found["mobility.trace"]
    values_of_a_corner = 5
    assert MOST_CORNERS * values_of_a_corner < MOST_VALUES


def test_names_that_study_or_file_do_not_have_are_all_reported(tmp_path: Path) -> None:
    mobility = {"trace": "walk.tcl", "nodes": {"c0.d9": 0, "c0.d0": 1, "c0.d1": 1, "c0.cu": 77}}
    (tmp_path / "walk.tcl").write_text(walk(3))
    with pytest.raises(StudyError) as caught:
        study_file.read(studies.write(tmp_path, mobility={**mobility, "heights_m": {"bs": 9}}))
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == 4
    for part in (
        "mobility.heights_m: no node 'bs' that the file moves; there are c0.",
        "mobility.nodes: no node 'c0.d9' in the study; did you mean c0.d",
        "mobility.nodes: c0.d1: expected another node of the file: 1 is c0.d0",
        "mobility.nodes: c0.cu: no node 77 in",
    ):
        assert any(part in each for each in found), found


def test_a_file_that_moves_nobody_is_an_error(tmp_path: Path) -> None:
    found = problems(tmp_path, "walk.tcl", walk(3, first=40))
    assert found.keys() == {"mobility.nodes"}
    assert "nodes of the file are 0 to 2" in found["mobility.nodes"]
    found = problems(tmp_path, "walk.tcl", "# nothing\n$god_ set-dist 0 1 2\n")
    assert found.keys() == {"mobility.nodes"}
    found = problems(tmp_path, {"height_m": 2}, "")
    assert "is missing" in found["mobility.trace"]


def test_a_csv_file_may_have_names_of_its_own(tmp_path: Path) -> None:
    text = "time_s,node,x_m,y_m\n0,veh 1,1,2\n0,veh 2,3,4\n"
    (tmp_path / "walk.CSV").write_text(text)
    mobility = {"trace": "walk.CSV", "nodes": {"c0.cu": "veh 2"}}
    assert begins(resolved(tmp_path, mobility, "")) == {"c0.cu": (3, 4, 1.5)}
    found = problems(tmp_path, "walk.CSV", "")
    assert "walk.CSV: line 3: no node 'veh 2'" in found["mobility.trace"]


def test_a_mapping_is_set_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "walk.tcl").write_text(walk(3))
    study = studies.write(tmp_path)
    sets = ["mobility.trace=walk.tcl", "mobility.nodes={c0.d0: 2}", "mobility.height_m=2"]
    spec = layout.scenario(study_file.read(study, sets), 1, 0)
    assert begins(spec) == {"c0.d0": (10, 2, 2)}


def test_heights_of_0_are_an_error_where_a_model_has_none_and_a_key_raises_them(
    tmp_path: Path,
) -> None:
    """SUMO exports such heights; the breakpoint distance of UMi would then be negative."""
    (tmp_path / "walk.tcl").write_text(walk(3, height_m=0))
    umi = {"propagation": {"d2e": "umi"}}
    with pytest.raises(StudyError) as caught:
        study_file.read(studies.write(tmp_path, mobility="walk.tcl", **umi))
    ((problem),) = caught.value.problems
    assert problem.path == "propagation.d2e.model"
    assert "terminals 1.5 to 22.5 m above ground (3GPP TR 38.901, table 7.4.1-1)" in str(problem)
    assert "not for c0.cu at 0 m" in str(problem)
    assert "height_m of a file" in str(problem)
    mobility = {"trace": "walk.tcl", "height_m": 1.5}
    study_file.read(studies.write(tmp_path, mobility=mobility, **umi))


def test_what_a_mapping_may_be_is_in_the_schema() -> None:
    schema = StudyConfig.model_json_schema()
    nodes = schema["$defs"]["Mobility"]["properties"]["nodes"]
    assert {"string", "integer"} <= {
        each["type"] for each in nodes["anyOf"][0]["additionalProperties"]["anyOf"]
    }
