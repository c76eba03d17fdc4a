"""Runs and campaigns load as one set of tables; what can't be loaded is named and skipped."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import studies
from synthetic_runs import write_campaign, write_run

import analysis
from analysis.load import TABLES, NotARun, NotWhole, Runs, load_all
from collapipe_ns3 import Study
from run_directory.schemas import SCHEMAS

SCHEMES = ("pipeline", "collapipe")
BANDS = ("5e6", "10e6")
KEY = "radio.d2e.bandwidth_hz"

STAGES = [{"device": "c0.d0", "first": 0, "last": 2}, {"device": "c0.d2", "first": 3, "last": 3}]
PLAN = {
    "clusters": [
        {"cluster": 0, "pipelines": [
            {"stages": STAGES, "micro_batches": 4, "schedule": "1f1b", "share": 1.0},
        ]},
        {"cluster": 1, "pipelines": [
            {"stages": [{"device": "c1.d0", "first": 0, "last": 3, "recompute": True}],
             "micro_batches": 1, "schedule": "gpipe", "share": 0.25},
        ]},
    ],
    "explanation": {
        "measured": [
            {"what": "c0.d0 energy_j", "name": "c0.d0", "quantity": "energy_j",
             "predicted": 2.0, "measured": 3},
        ]
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return Study.load(studies.write(folder)).run(out=folder / "run").directory


def cells() -> dict[str, dict[str, str]]:
    """The runs of a campaign with their points."""
    return {
        f"{scheme}-seed{seed}-{KEY}={band}": {KEY: band}
        for band in BANDS
        for scheme in SCHEMES
        for seed in (1, 2)
    }


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two schemes with two seeds at two points, with two rounds of two transfers each.

    The bytes of a transfer are a number that only this scheme, seed, point and round has.
    """
    folder = write_campaign(tmp_path_factory.mktemp("campaign") / "swept", cells())
    for name, point in cells().items():
        scheme, seed = name.split("-")[0], int(name.split("-")[1][4:])
        write_run(
            folder / "cells" / name,
            scheme=scheme,
            seed=seed,
            rounds=2,
            transfers=[
                {"round": number, "kind": kind, "bytes": size(scheme, seed, point[KEY], number)}
                for number in (0, 1)
                for kind in ("model", f"kind of {scheme}")
            ],
        )
    return folder


def size(scheme: str, seed: int, band: str, number: int) -> int:
    return 1000 * (1 + SCHEMES.index(scheme)) + 100 * seed + 10 * BANDS.index(band) + number


def test_a_run_is_read_with_what_it_was_run_with(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    assert run.study["name"] == "tiny"
    assert run.manifest["versions"]["ns3"]
    assert [plan["round"] for plan in run.plans] == [0, 1]
    assert run.rounds["round"].tolist() == [0, 1]
    assert (run.runs[0].rounds, run.runs[0].planned_rounds) == (2, 2)


def test_tables_have_the_same_columns_and_types_in_every_run(run_dir: Path, campaign: Path) -> None:
    run, runs = analysis.load(run_dir), analysis.load(run_dir, campaign)
    for name in TABLES:
        alone, table = run.table(name), runs.table(name)
        assert list(alone.columns[:3]) == ["scheme", "seed", "round"]
        assert [c for c in table.columns if c != KEY] == list(alone.columns)
        assert (alone["seed"].dtype, alone["round"].dtype) == ("int64", "int64")
        of_run = table[table["run"] == "run"].drop(columns=KEY)
        pd.testing.assert_frame_equal(
            of_run.astype(object), alone.astype(object), check_dtype=False
        )


def test_half_a_round_is_left_out(run_dir: Path, tmp_path: Path) -> None:
    """The files are those of a process that was killed within the third round."""
    copied = Path(shutil.copytree(run_dir, tmp_path / "run"))
    shutil.copy(copied / "transfers" / "00001.parquet", copied / "transfers" / "00002.parquet")
    with (copied / "plans.jsonl").open("a") as plans:
        plans.write('{"round": 2, "sch')
    run, whole = analysis.load(copied), analysis.load(run_dir)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(run, name), getattr(whole, name))
    assert run.plans == whole.plans


def test_a_campaign_is_one_set_of_tables(campaign: Path) -> None:
    runs = analysis.load(campaign)
    assert [run.name for run in runs.runs] == list(cells())
    assert runs.grid == {KEY: list(BANDS)}
    sent = runs.transfers
    assert len(sent) == 8 * 2 * 2
    sizes = [size(*row) for row in sent[["scheme", "seed", KEY, "round"]].itertuples(index=False)]
    assert sent["bytes"].tolist() == sizes
    # Every run has one kind of its own and one that all have; pandas keeps one category of each.
    assert sorted(sent["kind"].cat.categories) == [
        "kind of collapipe", "kind of pipeline", "model",
    ]  # fmt: skip
    assert sent["kind"].tolist() == [
        kind for name in cells() for _ in (0, 1)
        for kind in ("model", f"kind of {name.split('-')[0]}")
    ]  # fmt: skip
    assert isinstance(sent["run"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize(
    "where",
    [
        {"scheme": "pipeline", "seed": 2, "round": 1},
        {KEY: "10e6", "kind": ["model", "nothing"], "bytes": range(1000, 1111)},
        {"run": {f"collapipe-seed1-{KEY}=5e6"}, "round": [0]},
        {"seed": pd.Series([1, 2]), "kind": "kind of pipeline"},
        {"scheme": []},
        {},
    ],
)
def test_selected_rows_are_those_of_the_whole_table(campaign: Path, where: dict[str, Any]) -> None:
    runs = analysis.load(campaign)
    whole = runs.transfers.astype(object)
    for key, value in where.items():
        whole = whole[whole[key].isin([value] if isinstance(value, str | int) else list(value))]
    chosen = ["bytes", KEY, "kind", "run"]
    for columns in (None, chosen):
        read = runs.table("transfers", columns, where)
        expected = (whole if columns is None else whole[columns]).reset_index(drop=True)
        pd.testing.assert_frame_equal(
            read.astype(object), expected, check_dtype=False, check_column_type=False
        )
    by_expression = runs.table("transfers", chosen, ds.field("bytes") > 2200)
    assert by_expression["bytes"].tolist() == [
        each for each in runs.transfers["bytes"] if each > 2200
    ]


def test_only_files_that_may_have_the_rows_are_opened(campaign: Path, tmp_path: Path) -> None:
    """All others are deleted after the runs were checked."""
    runs = analysis.load(shutil.copytree(campaign, tmp_path / "copy"))
    where = {"scheme": "collapipe", "seed": [2], KEY: "5e6", "round": 1}
    for name in cells():
        for number in (0, 1):
            if (name, number) != (f"collapipe-seed2-{KEY}=5e6", 1):
                (tmp_path / "copy" / "cells" / name / f"transfers/0000{number}.parquet").unlink()
    read = runs.table("transfers", ["bytes"], where)
    assert read["bytes"].tolist() == [size("collapipe", 2, "5e6", 1)] * 2
    for key in where:  # each of the four is needed
        with pytest.raises(NotWhole, match=r"transfers/0000\d\.parquet: can't be read"):
            runs.table("transfers", ["bytes"], {k: v for k, v in where.items() if k != key})
    from_dataset = runs.table("transfers", ["bytes"], {**where, "kind": "model"})
    assert len(from_dataset) == 1


def test_a_dataset_is_scanned_by_pyarrow(campaign: Path) -> None:
    dataset = analysis.load(campaign).dataset("transfers")
    found = dataset.to_table(columns=["bytes"], filter=ds.field(KEY) == "10e6")["bytes"].to_pylist()
    assert found == [
        size(scheme, seed, "10e6", number)
        for scheme in SCHEMES
        for seed in (1, 2)
        for number in (0, 1)
        for _ in range(2)
    ]
    assert analysis.load(campaign).dataset("plans").count_rows() == 0


def test_what_users_write_wrongly_is_named_with_the_nearest_choice(campaign: Path) -> None:
    runs = analysis.load(campaign)
    wrong: dict[str, Any] = {
        "no table 'transfer'; did you mean transfers": lambda: runs.table("transfer"),
        "no table 'x'; there are computes, transfers": lambda: runs.dataset("x"),
        "no column 'byte' in transfers; did you mean bytes": lambda: runs.table(
            "transfers", ["byte"]
        ),
        "no column 'ruond' in rounds; did you mean round": lambda: runs.table(
            "rounds", where={"ruond": 1}
        ),
        "no column 'knid' in transfers; did you mean kind": lambda: runs.table(
            "transfers", where=ds.field("knid") == "model"
        ),
        "expected integers for seed, not 'one'": lambda: runs.table("plans", where={"seed": "one"}),
        f"expected text for {KEY}, not 5000000.0": lambda: runs.table("links", where={KEY: 5e6}),
        "no label 'sceme' in these runs; did you mean scheme": lambda: runs.select(sceme="local"),
        "no run has scheme 'local'; there are pipeline, collapipe": lambda: runs.select(
            scheme="local"
        ),
        "no run 'pipeline-seed1'; did you mean": lambda: runs["pipeline-seed1"],
        "expected one run, not 8: choose one by runs": lambda: runs.manifest,
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message.replace(".", r"\.")):
            call()


def test_runs_are_selected_by_their_labels(campaign: Path) -> None:
    runs = analysis.load(campaign)
    chosen = runs.select(scheme="collapipe", **{KEY: ["10e6", "20e6"]})
    assert [run.seed for run in chosen.runs] == [1, 2]
    assert {run.point[KEY] for run in chosen.runs} == {"10e6"}
    assert chosen[0].manifest["seed"] == 1
    assert chosen[chosen.runs[1].name].directory == chosen.runs[1].directory
    assert [len(each) for each in chosen] == [1, 1]
    assert repr(chosen[0]) == f"<1 run: collapipe-seed1-{KEY}=10e6>"


def test_a_frame_is_read_once_and_is_its_users_own(campaign: Path, tmp_path: Path) -> None:
    runs = analysis.load(shutil.copytree(campaign, tmp_path / "copy"))
    first = runs[0].transfers
    shutil.rmtree(tmp_path / "copy" / "cells")
    first.loc[:, "bytes"] = 0
    again = next(iter(runs)).transfers
    assert again["bytes"].tolist() == [size("pipeline", 1, "5e6", n) for n in (0, 0, 1, 1)]
    with pytest.raises(NotWhole, match="can't be read"):
        runs[1].table("transfers")


def test_plans_predictions_and_media_are_tables(tmp_path: Path) -> None:
    media = [
        {"medium": "d2e", "stack": "lte", "bandwidth_hz": 5e6, "shared": True, "links": [],
         "sinr_db": [-5.0, 0.0], "goodput_bps": [1e6, 2e6]}
    ]  # fmt: skip
    write_run(tmp_path / "a", scheme="pipeline", seed=3, rounds=2, plans=[PLAN, {}], media=media)
    odd = {"explanation": {"measured": [{"what": "x"}, 3]}}  # of a scheme of the user's own
    write_run(tmp_path / "b", plans=[odd])
    runs = analysis.load(tmp_path / "a", tmp_path / "b")
    plans = runs.table("plans")
    assert plans.drop(columns="run").to_dict("records") == [
        {"scheme": "pipeline", "seed": 3, "round": 0, "cluster": 0, "pipeline": 0, "stage": 0,
         "device": "c0.d0", "first_block": 0, "last_block": 2, "blocks": 3, "recompute": False,
         "micro_batches": 4, "schedule": "1f1b", "share": 1.0},
        {"scheme": "pipeline", "seed": 3, "round": 0, "cluster": 0, "pipeline": 0, "stage": 1,
         "device": "c0.d2", "first_block": 3, "last_block": 3, "blocks": 1, "recompute": False,
         "micro_batches": 4, "schedule": "1f1b", "share": 1.0},
        {"scheme": "pipeline", "seed": 3, "round": 0, "cluster": 1, "pipeline": 0, "stage": 0,
         "device": "c1.d0", "first_block": 0, "last_block": 3, "blocks": 4, "recompute": True,
         "micro_batches": 1, "schedule": "gpipe", "share": 0.25},
    ]  # fmt: skip
    assert runs.table("predictions").to_dict("records") == [
        {"scheme": "pipeline", "seed": 3, "round": 0, "what": "c0.d0 energy_j", "name": "c0.d0",
         "quantity": "energy_j", "predicted": 2.0, "measured": 3.0, "run": "a"},
    ]  # fmt: skip
    assert runs.table("media", ["medium", "stack", "bandwidth_hz", "sinr_db", "goodput_bps"]
                      ).values.tolist() == [
        ["d2e", "lte", 5e6, -5.0, 1e6], ["d2e", "lte", 5e6, 0.0, 2e6],
    ]  # fmt: skip
    assert runs.table("media", where={"run": "b"}).empty


def test_runs_of_the_same_name_are_named_after_their_parents(tmp_path: Path) -> None:
    places = [
        write_run(tmp_path / place / "cells" / "pipeline-seed1", scheme="pipeline", seed=number)
        for number, place in enumerate(("x/one", "x/two", "y/two"))
    ]
    runs = analysis.load(*places, write_run(tmp_path / "other"))
    names = ["one/pipeline-seed1", "x/two/pipeline-seed1", "y/two/pipeline-seed1", "other"]
    assert [run.name for run in runs.runs] == names
    seeds = runs.rounds.groupby("run", observed=True)["seed"].first()
    assert seeds.to_dict() == dict(zip(names, (0, 1, 2, 1), strict=True))


def test_a_folder_of_runs_and_campaigns_loads_whole_and_each_run_once(
    campaign: Path, tmp_path: Path
) -> None:
    shutil.copytree(campaign, tmp_path / "swept")
    write_run(tmp_path / "alone")
    (tmp_path / "figures").mkdir()
    runs = analysis.load(tmp_path, tmp_path / "alone", tmp_path / "swept")
    assert [run.name for run in runs.runs] == ["alone", *cells()]
    assert runs.skipped == ()
    (tmp_path / "link").symlink_to(tmp_path / "alone")
    assert analysis.load(tmp_path / "figures/../link").runs[0].name == "link"
    rounds = runs.rounds
    assert rounds.loc[rounds["run"] == "alone", KEY].isna().all()
    # A run of a campaign that is loaded alone has its point, too.
    cell = tmp_path / "swept" / "cells" / list(cells())[-1]
    assert analysis.load(cell).runs[0].point == {KEY: "10e6"}


@pytest.mark.parametrize(
    ("names", "points"),
    [
        (["a-seed1-x.y=1e-3-z=b-c", "a-seed1-x.y=2-z=b"],
         [{"x.y": "1e-3", "z": "b-c"}, {"x.y": "2", "z": "b"}]),
        (["a-seed1", "my-seed2-scheme-seed2"], [{}, {}]),
        (["a-seed1-x=1", "a-seed1-x=10MHz-0123456789abcdef"], [{}, {}]),  # 10 MHz was shortened
    ],
)  # fmt: skip
def test_points_of_earlier_versions_are_those_in_the_names(
    tmp_path: Path, names: list[str], points: list[dict[str, str]]
) -> None:
    write_campaign(tmp_path, names, with_points=False)
    for name in names:
        write_run(tmp_path / "cells" / name)
    assert [run.point for run in analysis.load(tmp_path).runs] == points


def test_earlier_and_later_versions_load_together(tmp_path: Path) -> None:
    """What a version did not write is missing in its rows, and so is a column that it had alone."""
    lacking = ("nodes", "transfers.step", "transfers.kind", "pipelines")
    write_run(tmp_path / "old", transfers=[{"bytes": 1}], without=lacking)
    write_run(
        tmp_path / "new", transfers=[{"bytes": 2, "step": 5}], nodes=[{"node": "c0.d1"}],
        rounds=[{"test_bleu": 9.0}],
    )  # fmt: skip
    runs = analysis.load(tmp_path / "old", tmp_path / "new")
    sent = runs.transfers.set_index("run")
    assert sent["step"].isna().to_dict() == {"old": True, "new": False}
    assert sent["kind"].isna().to_dict() == {"old": True, "new": False}
    assert sent["bytes"].to_dict() == {"old": 1, "new": 2}
    assert runs.nodes["run"].tolist() == ["new"]
    assert runs.rounds["test_bleu"].isna().tolist() == [True, False]
    alone = runs.select(run="old")
    for name in TABLES:
        assert set(SCHEMAS[name].names) <= set(alone.table(name).columns)
    assert alone.nodes.empty
    assert alone.table("transfers", ["step", "bytes"])["step"].isna().all()
    assert "test_bleu" not in alone.rounds


def without_digests(run: Path) -> Path:
    """Makes the directory one of the first version."""
    (run / "digests.json").unlink()
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["format"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def test_a_run_that_a_later_version_continued_has_its_columns(tmp_path: Path) -> None:
    run = without_digests(write_run(tmp_path / "run", rounds=2, links=[{"round": 1, "age_s": 7.0}]))
    table = pq.read_table(run / "links" / "00001.parquet")
    future = table.append_column("of_the_future", [[1.5]])
    pq.write_table(future, run / "links" / "00001.parquet")
    with pytest.warns(UserWarning, match="without digests"):
        links = analysis.load(run).links
    assert links[["age_s", "of_the_future"]].to_numpy().tolist() == [[7.0, 1.5]]


def test_runs_that_cannot_be_loaded_are_skipped_with_one_warning(tmp_path: Path) -> None:
    names = ["good", "damaged", "none yet", "not begun", "later"]
    write_campaign(tmp_path / "swept", names)
    for name in ("good", "damaged", "later"):
        write_run(tmp_path / "swept" / "cells" / name)
    write_run(tmp_path / "swept" / "cells" / "none yet", rounds=0)
    cells = tmp_path / "swept" / "cells"
    (cells / "damaged/transfers/00000.parquet").write_bytes(b"PAR1")
    (cells / "damaged/links/00000.parquet").unlink()
    digests = (cells / "later/digests.json").read_text()
    (cells / "later/digests.json").write_text(digests.replace('"format": 4', '"format": 99'))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    write_campaign(tmp_path / "broken", []).joinpath("campaign.json").write_text('{"cells": 3}')
    given = [tmp_path / each for each in ("swept", "folder", "file", "nowhere", "broken", "r*")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = analysis.load(*given)
    assert [run.name for run in runs.runs] == ["good"]
    [warning] = caught
    assert warning.filename == __file__
    text = str(warning.message)
    assert text.startswith("9 of 10 runs were skipped:\n  ")
    assert len(runs.skipped) == 9
    reasons = {
        "folder is no run directory: neither it nor any folder in it has a study.yaml",
        "file is no run directory: it is a file",
        "nowhere is no run directory: there is no such directory",
        "broken/campaign.json can't be read as that of a campaign; its runs can be loaded from",
        "patterns are not expanded",
        "transfers/00000.parquet: was changed or damaged",
        "links/00000.parquet: is missing",
        "none yet holds no finished round",
        "not begun was not begun",
        "digests.json: is damaged, or was written by a later version",
    }
    assert [reason for reason in reasons if reason not in text] == []
    with pytest.raises(NotWhole) as error:
        analysis.load(cells / "damaged")
    assert {name for name, _ in error.value.problems} == {
        "transfers/00000.parquet", "links/00000.parquet",
    }  # fmt: skip
    with pytest.raises(NotWhole, match=r"transfers/00000\.parquet"):
        load_all([cells / "good", cells / "damaged"])
    with pytest.raises(NotARun, match=r"none of these runs can be loaded:\n.*no finished") as none:
        analysis.load(cells / "none yet", cells / "damaged")
    assert "links/00000.parquet" in str(none.value)


def test_many_messages_are_shortened_in_the_warning(tmp_path: Path) -> None:
    write_campaign(tmp_path, [f"run{number}" for number in range(15)])
    write_run(tmp_path / "cells" / "run7")
    with pytest.warns(UserWarning, match="run10 was not begun\n  and 4 more") as caught:
        runs = analysis.load(tmp_path)
    assert len(caught) == 1
    assert len(runs.skipped) == 14


def test_what_was_truncated_without_digests_is_skipped_too(tmp_path: Path) -> None:
    good, bad = (without_digests(write_run(tmp_path / name, rounds=3)) for name in ("a", "b"))
    file = bad / "transfers" / "00001.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.warns(UserWarning, match="were skipped|without digests") as caught:
        runs = analysis.load(good, bad)
    assert [run.name for run in runs.runs] == ["a"]
    assert "b is not whole:\n  transfers/00001.parquet: can't be read" in runs.skipped[0]
    messages = [str(each.message) for each in caught]
    assert [str(good) in each and "without digests" in each for each in messages] == [False, True]


def test_a_manifest_without_scheme_or_seed_is_named(tmp_path: Path) -> None:
    run = without_digests(write_run(tmp_path / "run"))
    (run / "manifest.json").write_text('{"scheme": "local", "seed": "one"}')
    with pytest.raises(NotWhole, match=r"manifest\.json: has no scheme, or no seed"):
        analysis.load(run)


def test_an_unfinished_run_is_loaded_with_a_message(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rounds=2, study={"rounds": 5})
    write_run(tmp_path / "b", rounds=2)
    with pytest.warns(UserWarning, match="rounds so far") as caught:
        runs = analysis.load(tmp_path / "a", tmp_path / "b")
    assert len(runs.rounds) == 4
    assert [str(each.message) for each in caught] == [
        f"not finished; the rounds so far were loaded:\n  {tmp_path / 'a'} has 2 of 5 rounds"
    ]


def test_what_is_no_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="no run directory"):
        analysis.load(tmp_path)
    with pytest.raises(NotARun, match="no directory was given"):
        analysis.load()
    assert len(Runs(())) == 0
