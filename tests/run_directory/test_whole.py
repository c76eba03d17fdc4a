"""The check of a run directory detects any change of a file, and names the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from earlier_format import as_format_3
from hypothesis import given, settings
from hypothesis import strategies as st

from run_directory.digests import BadDigestsError, Digests, RoundDigests
from run_directory.whole import TABLES, NotARun, NotWhole, WholeRun, checkpoint_of, examine
from run_directory.writing import RunDirectory

ROUNDS = 2
PER_ROUND = [f"{table}/{number:05}.parquet" for table in TABLES for number in range(ROUNDS)]
FILES = [
    *("study.yaml", "manifest.json", "media.json", "digests.json", "plans.jsonl", "checkpoint.pt"),
    *PER_ROUND,
]


def cut(data: bytes) -> bytes:
    return data[:-1]


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def empty(data: bytes) -> bytes:
    return b""


def examined(path: Path) -> tuple[WholeRun, int]:
    """The run, and the number of rounds before its checkpoint."""
    run = examine(path)
    return run, checkpoint_of(run)[0]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    with RunDirectory(path) as directory:
        directory.describe("name: tiny\n", {"seed": 7}, media=[{"medium": "uplink"}])
        for number in range(ROUNDS):
            tables = {name: f"{name} {number}".encode() for name in TABLES}
            directory.add(tables, f'{{"round": {number}, "x": "²"}}', b"state %d" % number)
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut, half, flip, empty, None])
def test_a_damaged_file_is_named(
    run_dir: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes] | None
) -> None:
    path = Path(shutil.copytree(run_dir, tmp_path / "run"))
    file = path / name
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    if name == "digests.json" and damage is cut:  # the last newline, which says nothing
        assert examined(path)[1] == ROUNDS
        return
    with pytest.raises(NotWhole) as caught:
        examined(path)
    ((named, what),) = caught.value.problems
    assert named == name
    assert str(path) in str(caught.value)
    assert ("missing" in what) == (damage is None)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_flipped_bit_goes_unnoticed(run_dir: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FILES))
    file = run_dir / name
    whole = file.read_bytes()
    at = data.draw(st.integers(0, 8 * len(whole) - 1))
    changed = bytearray(whole)
    changed[at // 8] ^= 1 << at % 8
    before = examined(run_dir)
    file.write_bytes(changed)
    try:
        result: object = examined(run_dir)
    except NotWhole as error:
        result = [named for named, _ in error.problems]
    finally:
        file.write_bytes(whole)
    # White space in digests.json says nothing, and is read as before.
    assert result == [name] or (result == before and name == "digests.json")


@given(st.binary(max_size=200))
def test_no_bytes_but_the_written_ones_are_digests(content: bytes) -> None:
    digests = Digests("a", "b", (RoundDigests("c", {"rounds": "d"}, "e"),))
    assert Digests.from_bytes(digests.to_bytes()) == digests
    with pytest.raises(BadDigestsError):
        Digests.from_bytes(content)


def test_everything_that_is_wrong_is_reported_at_once(run_dir: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(run_dir, tmp_path / "run"))
    (path / "links" / "00000.parquet").unlink()
    (path / "rounds" / "00001.parquet").write_bytes(b"")
    (path / "study.yaml").write_text("name: other\n")
    (path / "plans.jsonl").unlink()
    with pytest.raises(NotWhole) as caught:
        examine(path)
    named = [name for name, _ in caught.value.problems]
    assert named == [
        "study.yaml", "plans.jsonl", "links/00000.parquet", "rounds/00001.parquet",
    ]  # fmt: skip


def test_what_is_no_run_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match=r"no study\.yaml"):
        examine(tmp_path)
    with pytest.raises(NotARun, match="no such directory"):
        examine(tmp_path / "nothing")


@pytest.fixture
def old(run_dir: Path, tmp_path: Path) -> Path:
    """Removes what versions without digests did not write."""
    path = Path(shutil.copytree(run_dir, tmp_path / "old"))
    (path / "digests.json").unlink()
    (path / "manifest.json").write_text(json.dumps({"seed": 7}))
    return path


def test_directories_without_digests_are_checked_as_far_as_that_goes(old: Path) -> None:
    there = examine(old)
    assert (there.digests, there.rounds) == (None, ROUNDS)
    with (old / "plans.jsonl").open("a") as plans:
        plans.write('{"round": 2, "x')  # a round that was being written
    assert examine(old).rounds == ROUNDS


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("plans.jsonl", b'{"round": 0}\n', r"plans\.jsonl: has no readable line for round 1"),
        ("plans.jsonl", b'{"round": 1}\n{"round": 2}\n', "no readable line for round 0"),
        ("plans.jsonl", b"[]\n[]\n", "no readable line for round 0"),
        ("plans.jsonl", None, r"plans\.jsonl: is missing"),
        ("transfers/00001.parquet", None, r"transfers/00001\.parquet: is missing"),
        ("rounds/00000.parquet", None, r"rounds/00000\.parquet: is missing"),
        ("manifest.json", b"{", r"manifest\.json: can't be read"),
        ("manifest.json", b"\xff", r"manifest\.json: can't be read"),
        ("manifest.json", b"[" * 100_000, r"manifest\.json: can't be read"),
        ("manifest.json", None, r"manifest\.json: is missing"),
        ("manifest.json", b'{"format": 2}', r"digests\.json: is missing"),
        ("study.yaml", b"\xff", r"study\.yaml: is not UTF-8"),
        ("study.yaml", None, r"study\.yaml: is missing"),
    ],
)
def test_what_is_wrong_without_digests_is_named_too(
    old: Path, name: str, content: bytes | None, says: str
) -> None:
    (old / name).unlink()
    if content is not None:
        (old / name).write_bytes(content)
    with pytest.raises(NotWhole, match=says):
        examine(old)


def test_the_media_are_read_and_are_none_where_the_version_wrote_none(
    run_dir: Path, tmp_path: Path
) -> None:
    assert examine(run_dir).media == [{"medium": "uplink"}]
    path = Path(shutil.copytree(run_dir, tmp_path / "run"))
    as_format_3(path, {})
    assert examine(path).media == []
    assert examine(path).rounds == ROUNDS
    assert examine(path).table("nodes") == []
