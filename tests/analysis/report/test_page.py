"""What the page contains: all of the runs, as text, without a request and the same each time."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import write_run

from analysis import load
from analysis.figures import FIGURES, CannotDraw, FigureKind
from analysis.report import reproduce
from analysis.report.page import page
from analysis.report.timelines import COLUMNS, timelines
from analysis.round_timeline import round_bars


def test_the_same_data_give_the_same_page(campaign: Path) -> None:
    one, other = page(load(campaign)), page(load(campaign))
    assert one.html == other.html


def test_the_page_names_no_address_that_it_could_request(campaign: Path) -> None:
    html = re.sub(r"<script>.*?</script>", "", page(load(campaign)).html, flags=re.S)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    assert "default-src 'none'" in html


def test_every_figure_has_its_place_and_its_reason_where_it_is_missing(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FigureKind, *arguments: object, **options: object) -> object:
        raise CannotDraw(f"no data for <{self.name}>")

    monkeypatch.setattr(FigureKind, "draw", refuse)
    made = page(load(campaign))
    for name in FIGURES:
        assert f"no data for &lt;{name}&gt;" in made.html
        assert f"figure {name}: no data for <{name}>" in made.left_out


def test_texts_of_runs_are_no_markup(tmp_path: Path) -> None:
    text = "</script><script>alert(1)</script>"
    run = write_run(tmp_path / "run", study={"description": text}, transfers=[{"kind": text}])
    html = page(load(run)).html
    assert "alert(1)" in html
    assert text not in html


@pytest.mark.parametrize(
    ("durations", "numbers"),
    [([1.0], {0: "first, slowest, last"}), ([1, 3, 2, 1], {0: "first", 1: "slowest", 3: "last"})],
)
def test_the_timelines_are_of_the_first_the_slowest_and_the_last_round(
    durations: list[float], numbers: dict[int, str], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", rounds=[{"duration_s": each} for each in durations])
    found = timelines(load(run), "some", ["other"])
    assert {each.round: each.why for each in found} == numbers
    every = timelines(load(run), "all", ["other"])
    assert [each.round for each in every] == list(range(len(durations)))


def test_the_packed_bars_are_those_of_the_round(campaign: Path) -> None:
    runs = load(campaign)
    kinds = ["F", "activation", "wait", "phase", "next phase", "other"]
    packed = next(t for t in timelines(runs, "some", kinds) if t.run == "titanic-seed1").to_json()
    bars = round_bars(runs["titanic-seed1"], 0)
    content = zlib.decompress(base64.b64decode(packed["data"]), wbits=-15)
    columns, offset = {}, 0
    for name, dtype in COLUMNS.items():
        columns[name] = np.frombuffer(content, dtype, packed["count"], offset)
        offset += columns[name].nbytes
    assert offset == len(content)
    own = columns["node"] > 0  # the first row has the phases
    assert [packed["rows"][n] for n in columns["node"][own]] == list(bars["node"])
    assert [packed["labels"][n] for n in columns["label"][own]] == list(bars["label"])
    assert [kinds[n] for n in columns["kind"][own]] == list(bars["kind"])
    assert list(columns["bytes"][own]) == list(bars["bytes"])
    for column in ("start", "end"):
        seconds = columns[column][own] * packed["unit_s"]
        np.testing.assert_allclose(seconds, bars[f"{column}_in_round_s"], atol=1e-6)


def test_one_command_makes_all_runs_of_a_campaign_again(campaign: Path) -> None:
    runs = load(campaign)
    made = reproduce.reproduction(runs)
    assert made.commands == [
        "collapipe-ns3 compare study.yaml --schemes collapipe,titanic --seeds 0,1,2 --out again"
    ]
    assert made.studies == {"study.yaml": runs.runs[0].whole.study}
    assert reproduce.reproduction(runs[0]).commands == ["collapipe-ns3 run study.yaml --out again"]


def test_settings_of_schemes_are_kept_in_the_command_of_all(tmp_path: Path) -> None:
    settings = {"most_micro_batches": 4}
    paths = [
        write_run(tmp_path / scheme, scheme=scheme, study={"scheme": {"name": scheme, **of}})
        for scheme, of in (("local", {}), ("collapipe", {"settings": settings}))
    ]
    assert reproduce.reproduction(load(*paths)).commands == [
        "collapipe-ns3 compare study.yaml --schemes local,collapipe --seeds 1 "
        "--set scheme.settings.most_micro_batches=4 --out again"
    ]


def test_other_runs_are_made_again_one_by_one_from_their_own_studies(tmp_path: Path) -> None:
    budget = {"scheme": {"name": "collapipe", "settings": {"energy_budget_j": 1.5}}}
    paths = [write_run(tmp_path / "with $", study=budget), write_run(tmp_path / "without", seed=2)]
    runs = load(*paths)
    made = reproduce.reproduction(runs)
    assert made.commands == [
        "collapipe-ns3 run study-1.yaml --out 'again/with $'",
        "collapipe-ns3 run study-2.yaml --out again/without",
    ]
    assert list(made.studies.values()) == [run.whole.study for run in runs.runs]


def test_what_is_not_the_same_for_all_runs_is_listed(tmp_path: Path) -> None:
    made = [
        write_run(tmp_path / str(n), seed=n, manifest={"git_commit": commit, "python": "3.11"})
        for n, commit in enumerate(["abc", "abc", "def"])
    ]
    found = reproduce.environment(load(*made))
    assert ("commit", "abc", "0, 1") in found
    assert ("commit", "def", "2") in found
    assert ("Python", "3.11", "all") in found


def test_the_json_of_the_timelines_can_be_read(campaign: Path) -> None:
    html = page(load(campaign)).html
    [text] = re.findall(r'id="timelines">(.*?)</script>', html, re.S)
    assert len(json.loads(text)["timelines"]) == 6 * 3
