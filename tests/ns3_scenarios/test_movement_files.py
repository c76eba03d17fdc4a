"""Files of movements: their formats, and the positions by ns-3's own reader."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_lab import scenario

from ns3_scenarios import runtime
from ns3_scenarios.mobility import Corner, Point, Trajectory
from ns3_scenarios.movement_csv import read_csv
from ns3_scenarios.movement_files import MOST_BYTES, TraceMapping, mapped, read_trace
from ns3_scenarios.movement_ns2 import read_ns2
from ns3_scenarios.recording import BadTrace, Recording

#: Files of other programs, in a folder next to the checkout, if there are any.
FOREIGN = [
    file
    for folder in Path(__file__).resolve().parents
    for file in sorted((folder / "shared/data/mobility").glob("*.tcl"))
]
NAN = math.nan
NUMBERS = re.compile(r"[0-9]+\.?[0-9]*")


def read(folder: Path, text: str, name: str = "walk.tcl", encoding: str = "utf-8") -> Recording:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return read_trace(path)


def at(corners: Sequence[Corner], time_s: float) -> Point:
    times = [corner[0] for corner in corners]
    x, y, z = (np.interp(time_s, times, [c[k] for c in corners]) for k in (1, 2, 3))
    return (float(x), float(y), float(z))


def ns3_has_them(path: Path, nodes: int, times_s: Sequence[float]) -> list[list[Point]]:
    """Where ns-3's `Ns2MobilityHelper` has every node, at each of these rising times."""
    runtime.reset(1, 1)
    ns = runtime.load()
    made = ns.NodeContainer()
    made.Create(nodes)
    ns.Ns2MobilityHelper(str(path)).Install()
    found, now_ns = [], 0
    for time_s in times_s:
        ns.Simulator.Stop(ns.NanoSeconds(round(time_s * 1e9) - now_ns))
        ns.Simulator.Run()
        now_ns = round(time_s * 1e9)
        places = []
        for number in range(nodes):
            model = made.Get(number).GetObject[ns.MobilityModel]()
            place = model.GetPosition() if model else ns.Vector(NAN, NAN, NAN)
            places.append((place.x, place.y, place.z))
        found.append(places)
    made = None
    ns.Simulator.Destroy()
    return found


def assert_as_ns3(path: Path, times_s: Sequence[float], fastest_m_s: float) -> None:
    recording = read_trace(path)
    nodes = max(map(int, recording.corners)) + 1
    for time_s, places in zip(times_s, ns3_has_them(path, nodes, times_s), strict=True):
        for name, corners in recording.corners.items():
            got, expected = at(corners, time_s), places[int(name)]
            # A height that the file doesn't give is the study's; ns-3 has 0.
            known = zip(got, expected, strict=True)
            off_m = max(abs(a - b) for a, b in known if not math.isnan(a))
            assert off_m <= 1e-3 + fastest_m_s * 1e-6, (name, time_s, got, expected)


PLACED = "".join(
    f"$node_({n}) set {axis}_ {value}\n"
    for n, place in enumerate([(10.0, 20.0, 3.0), (100.0, -30.0, 0.0)])
    for axis, value in zip("XYZ", place, strict=True)
)
ORDERS = {
    "one after the other": (2.0, "0) setdest 60 20 5"),
    "before the last arrival": (4.0, "0) setdest 60 90 7"),
    "the later line of the same instant": (4.0, "0) setdest 0 0 10"),
    "and its stop": (4.0, "0) setdest 90 90 0"),
    "to where it stands": (5.0, "1) setdest 100 -30 3"),
    "away from there": (6.0, "1) setdest 0 -30 20"),
    "stopped on the way": (8.0, "1) setdest 0 0 0"),
    "elsewhere at once": (9.0, "1) set X_ 55"),
    "and along the other axes": (9.0, "1) set Y_ 44"),
    "up": (9.0, "1) set Z_ 7"),
    "off again": (9.0, "1) setdest 0 0 2"),
}


def lines(orders: Sequence[tuple[float, str]]) -> str:
    return PLACED + "".join(f'$ns_ at {t!r} "$node_({order}"\n' for t, order in orders)


@pytest.mark.parametrize("count", range(1, len(ORDERS) + 1))
def test_orders_are_obeyed_as_in_ns3(count: int, tmp_path: Path) -> None:
    """Also orders at the same time, of which the later line holds, whatever its figures."""
    path = tmp_path / "walk.ns_movements"
    path.write_text(lines(list(ORDERS.values())[:count]))
    assert_as_ns3(path, [tenth / 10 for tenth in range(300)], 20.0)


def test_the_later_line_of_an_instant_holds_whatever_its_coordinates(tmp_path: Path) -> None:
    """Not the line with the larger coordinates."""
    orders = [(1.0, "0) setdest 900 900 5"), (1.0, "0) setdest 10 10 5")]
    for given_orders, goal in ((orders, (10.0, 10.0)), (orders[::-1], (900.0, 900.0))):
        recording = read(tmp_path, lines(given_orders))
        assert recording.corners["0"][-1][1:3] == goal


PLACES = st.floats(-500, 500).map(lambda x: round(x, 3))
TIMES = st.one_of(
    st.sampled_from([0.0, 0.0, 0.25, 1.0, 2.5]), st.floats(0, 9).map(lambda t: round(t, 4))
)
SPEEDS = st.one_of(st.just(0.0), st.floats(0.01, 400).map(lambda v: round(v, 3)))


@st.composite
def movements(draw: st.DrawFn) -> tuple[str, float]:
    """A file of up to three nodes, and its highest speed."""
    fastest, text = 0.0, []
    for node in range(draw(st.integers(1, 3))):
        first = [draw(PLACES) for _ in range(3)]
        text += [
            f"$node_({node}) set {'XYZ'[k]}_ {first[k]}" for k in draw(st.permutations(range(3)))
        ]
        time_s, goal = 0.0, (first[0], first[1])
        for _ in range(draw(st.integers(0, 8))):
            time_s = round(time_s + draw(TIMES), 6)
            kind = draw(st.sampled_from(["go", "go", "go", "again", "set"]))
            if kind == "set":
                order = f"set {draw(st.sampled_from('XYZ'))}_ {draw(PLACES)}"
            else:
                goal = goal if kind == "again" else (draw(PLACES), draw(PLACES))
                speed = draw(SPEEDS)
                fastest = max(fastest, speed)
                order = f"setdest {goal[0]} {goal[1]} {speed}"
            text.append(f'$ns_ at {time_s} "$node_({node}) {order}"')
    return "\n".join(text) + "\n", fastest


@settings(max_examples=150, deadline=None)
@given(movements(), st.lists(st.floats(0, 60), max_size=20))
def test_whatever_is_accepted_puts_nodes_where_ns3_has_them(
    tmp_path_factory: pytest.TempPathFactory, file: tuple[str, float], times_s: list[float]
) -> None:
    text, fastest = file
    path = tmp_path_factory.mktemp("walk") / "walk.tcl"
    path.write_text(text)
    try:
        read_trace(path)
    except BadTrace as error:
        assert "has it walk on for ever" in str(error)  # noqa: PT017  # the only one that may be
        return
    assert_as_ns3(path, sorted([*range(0, 60, 3), *times_s]), fastest)


@pytest.mark.skipif(not FOREIGN, reason="needs files of other programs, which are not distributed")
def test_real_files_of_other_programs_are_read_as_ns3_reads_them() -> None:
    for file in FOREIGN:
        assert_as_ns3(file, [3.7 * k for k in range(150)], 20.0)


SETDEST = """#
# nodes: 2, pause: 2.00, max speed: 10.00  max x = 500.00, max y: 500.00
#
$node_(0) set X_ 83.364418416244
$node_(0) set Y_ 239.438214433672
$node_(0) set Z_ 0.000000000000
$node_(1) set X_ 257.046298323157
$node_(1) set Y_ 239.438214433672   # a comment
$node_(1) set Z_ 0.000000000000
$god_ set-dist 0 1 1
$ns_ at 2.000000000000 "$node_(0) setdest 89.663708107313 283.494644426442 5.153832288917"
$ns_ at 3.000000000000 "$god_ set-dist 0 1 2"
$ns_ at 4.000000000000 "$node_(1) set X_ 30.0";
$ns_ at 4.000000000000 "$node_(1) set Y_ 40.0"
$ns_ at 4.000000000000 "$node_(1) set Z_ 1.5"\t;
$ns_ at 5.0 $node_(1) setdest 50 40 2
$ns_ at 9.0 "$node_(1) setdest 60 40 2 "
#
# Destination Unreachables: 0
"""


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A file of setdest with some characters, words or lines lost, doubled or moved."""
    text = SETDEST
    for _ in range(draw(st.integers(1, 4))):
        unit = draw(st.sampled_from(["", " ", "\n"]))
        parts = list(text) if not unit else text.split(unit)
        at, length = draw(st.integers(0, len(parts) - 1)), draw(st.integers(1, 2))
        taken = parts[at : at + length]
        kind = draw(st.sampled_from(["lose", "double", "move", "put"]))
        if kind != "double":
            del parts[at : at + length]
        if kind != "lose":
            to = at if kind == "double" else draw(st.integers(0, len(parts)))
            parts[to:to] = [draw(st.sampled_from('0.-";#$e\t'))] if kind == "put" else taken
        text = unit.join(parts)
    return text


@settings(max_examples=200, deadline=None)
@given(damaged())
def test_a_damaged_file_is_refused_or_read_as_ns3_reads_it(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("walk") / "walk.tcl"
    path.write_text(text)
    try:
        recording = read_trace(path)
    except BadTrace:
        return
    if recording.corners and max(map(int, recording.corners)) < 100:
        fastest = max([6.0, *(float(word) for word in NUMBERS.findall(text))])
        assert_as_ns3(path, [0.0, 1.0, 2.5, 3.9, 4.0, 5.0, 7.25, 9.5, 40.0], fastest)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_setdest_writes_is_read(end: str, encoding: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tcl"
    plain.write_text(SETDEST)
    assert_as_ns3(plain, [tenth / 10 for tenth in range(200)], 6.0)
    windows = read(tmp_path, SETDEST.replace("\n", end), encoding=encoding)
    assert windows.corners == read_trace(plain).corners


def test_a_csv_file_is_read(tmp_path: Path) -> None:
    text = "time_s,node,x_m,y_m\n0,c0.cu,1,2\n5,c0.d0,3,4\n\n10,c0.cu,-1,2.5\n"
    ways = mapped(read(tmp_path, text, "walk.csv"), scenario(), TraceMapping())
    assert ways == {
        "c0.cu": Trajectory(((0.0, 1.0, 2.0, 1.5), (10.0, -1.0, 2.5, 1.5))),
        "c0.d0": Trajectory(((5.0, 3.0, 4.0, 1.5),)),
    }
    text = "time_s, node, x_m, y_m, z_m\n0, bs, 1, 2, 30\n"
    assert read(tmp_path, text, "walk.csv").corners == {"bs": ((0.0, 1.0, 2.0, 30.0),)}


def test_a_csv_file_of_other_programs_is_read_the_same(tmp_path: Path) -> None:
    rows = ["time_s,node,x_m,y_m,z_m", "0,c0.cu,1,2,3", "1,c0.cu,3,4,5"]
    plain = read(tmp_path, "\n".join(rows), "a.csv")
    for text, name, encoding in (
        ("\r\n".join(rows) + "\r\n", "b.CSV", "utf-8-sig"),
        ("\n  \n" + "\n\n".join(rows) + "\n , ,\t\n\n", "c.Csv", "utf-8"),
        ("\n".join(rows).replace("c0.cu", '"c0.cu"'), "d.csv", "utf-8"),
    ):
        assert read(tmp_path, text, name, encoding).corners == plain.corners, name


def test_nodes_of_an_ns2_file_are_control_units_and_devices_by_themselves(tmp_path: Path) -> None:
    """No base station moves, and a file may have more nodes than the scenario."""
    text = "".join(f"$node_({n}) set {axis}_ {n + 5}\n" for n in (0, 1, 2, 9) for axis in "XYZ")
    spec = scenario(devices=1)
    ways = mapped(read(tmp_path, text), spec, TraceMapping())
    assert ways == {
        "c0.cu": Trajectory(((0.0, 5.0, 5.0, 5.0),)),
        "c0.d0": Trajectory(((0.0, 6.0, 6.0, 6.0),)),
    }


def test_a_mapping_says_who_is_who_where_and_when(tmp_path: Path) -> None:
    recording = read(
        tmp_path,
        PLACED + '$ns_ at 5.0 "$node_(1) setdest 100 -10 2"\n$node_(7) set X_ 1\n'
        "$node_(7) set Y_ 2\n",
    )
    mapping = TraceMapping(
        nodes={"bs": "7", "c0.d0": "1"}, offset_m=(-50.0, 5.0), scale=0.5, time_shift_s=-3.0
    )
    spec = scenario()
    assert mapped(recording, spec, mapping) == {
        "bs": Trajectory(((-3.0, -49.5, 6.0, spec.bs.position[2]),)),
        "c0.d0": Trajectory(
            ((-3.0, 0.0, -10.0, 0.0), (2.0, 0.0, -10.0, 0.0), (12.0, 0.0, 0.0, 0.0))
        ),
    }
    # Corners before the run are left out, except the last one.
    late = mapped(recording, spec, replace(mapping, time_shift_s=-10.0))
    assert late["c0.d0"].corners == ((-5.0, 0.0, -10.0, 0.0), (5.0, 0.0, 0.0, 0.0))
    high = TraceMapping(nodes={"bs": "7", "c0.d0": "1"}, height_m=2.0, heights_m={"bs": 25.0})
    ways = mapped(recording, spec, high)
    assert {corner[3] for corner in ways["c0.d0"].corners} == {2.0}
    assert {corner[3] for corner in ways["bs"].corners} == {25.0}


HEAD = "time_s,node,x_m,y_m\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "", "time_s,node,x_m,y_m,z_m in the first line"),
        ("a.csv", HEAD, "expected a line after the header"),
        ("a.csv", HEAD + " \n,,,\n", "expected a line after the header"),
        ("a.csv", HEAD + "\n1,c0.cu,2\n", "line 3: expected 4 values, not 3"),
        ("a.csv", HEAD + "1,bs,2,far\n", "line 2: expected a finite number, not 'far'"),
        ("a.csv", HEAD + "1,bs,2,nan\n", "line 2: expected a finite number"),
        ("a.csv", HEAD + "1,bs,1_000,2\n", "line 2: expected a finite number, not '1_000'"),
        ("a.csv", HEAD + "1e300,bs,1,2\n", "line 2: expected at most 1e+15, not 1e300"),
        ("a.csv", HEAD + "1,bs,2,3\n1,bs,4,5\n", "line 3: expected a time after"),
        ("a.csv", HEAD + '1,bs,2,"3' + "3" * 140_000, "line 2: field larger than"),
        ("a.tcl", "set opt(nn) 50\n", "line 1: expected `$node_(k) set X_"),
        ("a.tcl", "$node_(0) set x_ 5\n", "line 1: expected `$node_(k) set X_"),
        ("a.tcl", '$ns_ at 1 "$node_(0) set X_ 1 "\n', "line 1: expected `$node_(k) set X_"),
        ("a.tcl", "$node_(1.5) set X_ 5\n", "line 1: expected `$node_(k) set X_"),
        ("a.tcl", '\n$ns_ at 1 "$node_(0) start"\n', "line 2: expected `$node_(k) set X_"),
        ("a.tcl", "$node_(0) set X_ 1_000\n", "line 1: expected a finite number, not '1_000'"),
        ("a.tcl", '$ns_ at -1 "$node_(0) setdest 1 2 3"\n', "line 1: expected a time from 0 up"),
        ("a.tcl", '$ns_ at 1e9 "$node_(0) setdest 1 2 3"\n', "at most 1e+07 s, not 1e+09 s"),
        ("a.tcl", '$ns_ at 1 "$node_(0) setdest 1 2 -3"\n', "line 1: expected a speed"),
        ("a.tcl", '$ns_ at one "$node_(0) setdest 1 2 3"\n', "line 1: expected a finite number"),
        ("a.tcl", '\n$ns_ at 1 "$node_(0) setdest 1 2 3"\n', "line 2: expected `$node_(0) set X_"),
        ("a.tcl", lines([(2, "0) setdest 1 2 3"), (1, "0) setdest 3 2 1")]), "line 8: expected"),
        ("a.tcl", lines([(2, "0) setdest 0 0 1e-9")]), "line 7: $node_(0) would be on its way"),
        ("a.tcl", lines([(2, "0) setdest 1 2 3"), (2, "0) setdest 10 20 1")]), "walk on for ever"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_reported_with_its_line(
    name: str, text: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(BadTrace) as error:
        read(tmp_path, text, name)
    assert says in str(error.value)
    assert str(error.value).startswith(str(tmp_path / name))


@settings(max_examples=300)
@given(st.sampled_from([read_csv, read_ns2]), st.text() | st.text('0.,-"\n\r$e_abc'), st.booleans())
def test_no_text_is_more_than_refused(
    read_text: Callable[[str], Recording], text: str, is_body: bool
) -> None:
    with contextlib.suppress(BadTrace):
        read_text(HEAD + text if is_body else text)


def test_what_is_no_text_or_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="No such file"):
        read_trace(Path("nowhere.csv"))
    os.mkfifo(tmp_path / "pipe.tcl")
    with pytest.raises(BadTrace, match="is no file"):
        read_trace(tmp_path / "pipe.tcl")
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(BadTrace, match="at most 256 MiB"):
        read_trace(tmp_path / "large.csv")
    with pytest.raises(BadTrace, match="no text in UTF-8"):
        read(tmp_path, "é", encoding="latin-1")
    with pytest.raises(BadTrace, match="can't be read"):
        read_trace(Path("no\0where.csv"))
