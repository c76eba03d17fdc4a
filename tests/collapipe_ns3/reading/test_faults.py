"""The section `faults` of a study: what is refused, with which words, and the file of events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import studies

from collapipe_ns3.config.faults import LinkFaults, NodeFaults, Slowdown
from collapipe_ns3.problems import StudyError
from collapipe_ns3.reading import study_file
from collapipe_ns3.topology.faults import make_faults

SECOND = 1_000_000_000


def problems(folder: Path, faults: Any, **changes: Any) -> dict[str, str]:
    with pytest.raises(StudyError) as caught:
        study_file.read(studies.write(folder, faults=faults, **changes))
    return {each.path: each.message for each in caught.value.problems}


def test_all_problems_of_faults_are_reported_at_once_with_their_places(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        {
            "nodes": [
                {"nodes": ["c0.d9"], "away_s": [[1, 2]]},
                {"profile": "raspberry-pi-5", "mtbf_s": 3},
                {"cluster": 4, "mttr_s": 3},
                {"nodes": ["c0.d0"]},
                {"away_s": [[3, 2], [None, 4], [1, 1]]},
                {"slow": [{"factor": 2}, {"factor": 3, "to_s": 4}, {"factor": 2, "from_s": 2,
                 "to_s": 1}, {"factor": 2, "mean_between_s": 3}, {"factor": 2, "from_s": 1,
                 "mean_between_s": 3, "mean_lasting_s": 4}]},
                {"nodes": ["c0.cu"], "profile": "phone-midrange", "away_s": [[1, 2]]},
            ],
            "links": [
                {"src": "c0.cu", "dst": "bb", "out_s": [[1, 2]]},
                {"src": "c0.d0", "dst": "bs", "out_s": [[2, 1]]},
                {"src": "c0.d0", "dst": "c0.d1"},
                {"src": "c0.d0", "dst": "c0.d1", "mtbf_s": 1},
            ],
        },
    )  # fmt: skip
    assert found == {
        "faults.nodes[0].nodes": "no node 'c0.d9'; did you mean c0.d1?",
        "faults.nodes[1].profile": "no device has the profile 'raspberry-pi-5'; did you mean "
        "raspberry-pi-4?",
        "faults.nodes[1].mttr_s": "is missing: mtbf_s needs it",
        "faults.nodes[2].cluster": "there are 1 clusters, counted from 0, no 4",
        "faults.nodes[2].mtbf_s": "is missing: mttr_s needs it",
        "faults.nodes[3]": "expected away_s, mtbf_s and mttr_s, slow, battery, charging or thermal",
        "faults.nodes[4].away_s[0]": "expected an end after 3 s, not 2 s",
        "faults.nodes[4].away_s[1]": "expected a time as the beginning, not null",
        "faults.nodes[4].away_s[2]": "expected an end after 1 s, not 1 s",
        "faults.nodes[5].slow[0]": "expected from_s and to_s, or mean_between_s and mean_lasting_s",
        "faults.nodes[5].slow[1].from_s": "is missing",
        "faults.nodes[5].slow[2].to_s": "expected an end after 2 s, not 1 s",
        "faults.nodes[5].slow[3].mean_lasting_s": "is missing: mean_between_s needs it",
        "faults.nodes[5].slow[4]": "expected from_s and to_s, or mean_between_s and mean_lasting_s",
        "faults.nodes[6]": "expected nodes, profile and cluster to have a node in common",
        "faults.links[0].dst": "no node 'bb'; did you mean bs?",
        "faults.links[1].dst": "c0.d0 has no link with bs, but with c0.cu, c0.d1",
        "faults.links[1].out_s[0]": "expected an end after 2 s, not 1 s",
        "faults.links[2]": "expected out_s, or mtbf_s and mttr_s",
        "faults.links[3].mttr_s": "is missing: mtbf_s needs it",
    }


def test_random_times_that_are_too_short_beside_a_wait_are_refused(tmp_path: Path) -> None:
    """Until the devices are back, the control unit would leave 10^11 times."""
    control = {"nodes": ["c0.cu"], "mtbf_s": 0.001, "mttr_s": 0.001}
    found = problems(tmp_path, {"nodes": [{"away_s": [[0, 1e8]]}, control]})
    assert found == {
        "faults": "a mean time of 0.001 s beside an absence or outage until 1e+08 s: expected at "
        "most 1e+07 times as long; null as the end of a span is for good"
    }


def test_values_of_faults_have_bounds_and_units(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        {
            "nodes": [{"mtbf_s": "3 parsec", "mttr_s": 0, "slow": [{"factor": 0.5, "from_s": 1}]}],
            "on_outage": "wiat",
            "nods": [],
        },
        training={"recovery": "restrat", "deadline": {"quorum": 2}},
    )
    assert found["faults.nods"] == "no such key; did you mean nodes?"
    assert found["faults.on_outage"].endswith("did you mean wait?")
    assert found["faults.nodes[0].mtbf_s"].startswith("expected a number, or one with a unit of s")
    assert found["faults.nodes[0].mttr_s"] == "expected 0.001 or more, not 0"
    assert found["faults.nodes[0].slow[0].factor"] == "expected 1 or more, not 0.5"
    assert found["training.recovery.policy"].endswith("did you mean restart?")
    assert found["training.deadline.after_s"] == "is missing"
    assert found["training.deadline.quorum"] == "expected 1 or less, not 2"


def test_heat_and_charge_are_checked_too(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        {
            "nodes": [
                {"nodes": ["bs"], "battery": {"capacity_j": 5}},
                {"nodes": ["c0.d0"], "battery": {"capacity_j": 5, "charge_j": 6}},
                {"nodes": ["c0.d0"], "battery": {"capacity_j": 5}},
                {"nodes": ["c0.d1"], "charging": [{"power_w": 2, "from_s": 3, "to_s": 2}]},
                {"thermal": {"k_per_w": 5, "tau_s": 10, "resume_c": 20}},
            ]
        },
    )
    assert found == {
        "faults.nodes[0].nodes": "bs has neither a battery nor heat",
        "faults.nodes[1].battery.charge_j": "expected at most the capacity, 5 J, not 6",
        "faults.nodes[2].battery": "c0.d0 has one by an earlier entry",
        "faults.nodes[3].charging[0].to_s": "expected an end after 3 s, not 2 s",
        "faults.nodes[3].charging": "c0.d1 has no battery",
        "faults.nodes[4].thermal.resume_c": "expected more than ambient_c, 25, up to limit_c, 80",
    }


EVENTS = """\
time_s,node,src,dst,event,value
1.5,c0.d0,,,leave,
2,,c0.cu,bs,out,
2.5,c0.d0,,,slow,3
3,c0.d0,,,return,
4,c0.d0,,,slow,1
5,c0.d0,,,leave,
6,,c0.cu,bs,back,
"""


def test_a_file_of_events_becomes_part_of_the_resolved_study(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(EVENTS)
    config = study_file.read(studies.write(tmp_path, faults={"file": "events.csv"}))
    assert config.faults.file is None
    assert config.faults.nodes == (
        NodeFaults(
            nodes=("c0.d0",),
            away_s=((1.5, 3.0), (5.0, None)),
            slow=(Slowdown(factor=3.0, from_s=2.5, to_s=4.0),),
        ),
    )
    assert config.faults.links == (
        LinkFaults(src="c0.cu", dst="bs", both=False, out_s=((2.0, 6.0),)),
    )
    assert study_file.parse("kept", study_file.dump(config)) == config
    faults = make_faults(config, 1)
    assert [faults.is_up("c0.d0", n * SECOND) for n in range(7)] == [1, 1, 0, 1, 1, 0, 0]
    assert [faults.is_usable("c0.cu", "bs", n * SECOND) for n in (1, 2, 5, 6)] == [1, 0, 0, 1]
    assert faults.is_usable("bs", "c0.cu", 3 * SECOND)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_s,node,event\n1,c0.dd,leave\n", "line 2: no node 'c0.dd'; did you mean c0.d1?"),
        ("time_s,node,event\n1,c0.d0,leaf\n", "line 2: no event 'leaf'; did you mean leave?"),
        (
            "time_s,node,event\n1,c0.d0,out\n",
            "line 2: no event 'out'; there are leave, return, slow",
        ),
        ("time_s,node,event\n\n1,c0.d0,return\n", "line 3: expected leave before another return"),
        (
            "time_s,node,event\n1,c0.d0,leave\n2,c0.d0,leave\n",
            "line 3: expected return before another leave",
        ),
        (
            "time_s,node,event\n2,c0.d0,leave\n1,c0.d0,return\n",
            "line 3: expected a time after 2 s, not 1 s",
        ),
        ("time_s,node,event\nx,c0.d0,leave\n", "line 2: expected a finite number, not 'x'"),
        ("time_s,node,event\n-1,c0.d0,leave\n", "line 2: expected a time of 0 to 1e+09 s, not -1"),
        (
            "time_s,node,event\n2e9,c0.d0,leave\n",
            "line 2: expected a time of 0 to 1e+09 s, not 2e+09",
        ),
        ("time_s,node,event\n1,c0.d0\n", "line 2: no event ''; there are leave, return, slow"),
        ("time_s,node,event\n1,c0.d0,leave,3\n", "line 2: expected 3 values, as in the header"),
        ("time_s,node,evnt\n1,c0.d0,leave\n", "line 1: no column 'evnt'; did you mean event?"),
        ("time_s,event\n1,leave\n", "line 1: expected the columns time_s, event, and node or src "
         "and dst"),
        (
            "time_s,node,event,value\n1,c0.d0,slow,0.5\n",
            "line 2: expected a factor of 1 to 1e6, not 0.5",
        ),
        (
            "time_s,src,dst,event\n1,c0.d0,bs,out\n",
            "line 2: no link c0.d0 → bs; did you mean c0.cu → bs?",
        ),
        (
            "time_s,node,src,dst,event\n1,c0.d0,c0.cu,bs,out\n",
            "line 2: expected a node, or src and dst of a link",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_of_events_has_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "events.csv"
    path.write_text(text)
    found = problems(tmp_path, {"file": "events.csv"})
    assert found == {"faults.file": f"{path}: {message}"}


def test_a_file_that_is_not_there_is_a_problem_beside_others(tmp_path: Path) -> None:
    found = problems(tmp_path, {"file": "no.csv", "nodes": [{"nodes": ["c0.d0"]}]})
    assert found["faults.file"].endswith("no.csv: can't be read: No such file or directory")
    assert "faults.nodes[0]" in found


def test_a_base_station_that_units_change_from_stays(tmp_path: Path) -> None:
    two = {"stations": [{"position": [400, 0, 10]}], "radio": {"handover": {}}}
    away = {"nodes": [{"nodes": ["bs1"], "away_s": [[1, 2]]}]}
    found = problems(tmp_path, away, **two)
    assert found.keys() == {"faults.nodes[0].nodes"}
    assert "leave out radio.handover" in found["faults.nodes[0].nodes"]
