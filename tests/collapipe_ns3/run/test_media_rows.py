"""`media.json`: the goodput over SINR that planners assume, for each medium of the radios."""

from __future__ import annotations

import json

import pytest
import studies

from collapipe_ns3.observed import Medium
from collapipe_ns3.run.media_rows import media_rows


def test_a_curve_is_bandwidth_times_density_times_efficiency_over_overhead() -> None:
    medium = Medium(
        name="sidelinks",
        links=frozenset({("c0.d1", "c0.d0"), ("c0.d0", "c0.d1")}),
        bandwidth_hz=10e6,
        densities=((1.0, 0.5), (10.0, 2.5)),
        efficiency=0.8,
        overhead=1.25,
        stack="wifi",
    )
    (row,) = media_rows([medium])
    assert (row["medium"], row["stack"], row["bandwidth_hz"]) == ("sidelinks", "wifi", 10e6)
    assert row["links"] == [["c0.d0", "c0.d1"], ["c0.d1", "c0.d0"]]
    curve = dict(zip(row["sinr_db"], row["goodput_bps"], strict=True))
    assert (min(curve), max(curve), len(curve)) == (-10, 45, 111)
    # Proportional to the SINR below the first point, linear in dB between, constant above.
    expected = {-10: 0.05, 0: 0.5, 5: 1.5, 10: 2.5, 45: 2.5}
    for sinr_db, density in expected.items():
        assert curve[sinr_db] == pytest.approx(10e6 * density * 0.8 / 1.25)


def test_without_points_it_is_shannons() -> None:
    medium = Medium("all", frozenset(), bandwidth_hz=1e6)
    (row,) = media_rows([medium])
    assert row["goodput_bps"][row["sinr_db"].index(0)] == pytest.approx(1e6)


@pytest.mark.parametrize("radio", [{}, {"d2d": "wifi", "d2e": "lte"}])
def test_every_transfer_is_over_a_medium_of_its_radio(radio: dict[str, str]) -> None:
    result = studies.finished(2, radio=radio)
    media = json.loads((result.directory / "media.json").read_text())
    stack = {(src, dst): each["stack"] for each in media for src, dst in each["links"]}
    sent = result.transfers[["src", "dst", "radio"]].astype(str).drop_duplicates()
    assert len(sent) > 2
    for each in sent.itertuples():
        assert stack[each.src, each.dst] == each.radio
    for each in media:
        assert each["goodput_bps"] == sorted(each["goodput_bps"])
        assert each["goodput_bps"][0] > 0
