"""Measured costs are kept on disk, and nothing fails where they can't be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collapipe_ns3.costs.cache import cached
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.learning.spec import ModelSpec

COSTS = closed_form(ModelSpec(9, 9, 8, 2, 8, 2, 1, 16))


class Counting:
    """Measures, and counts how often."""

    times = 0

    def __call__(self) -> ModelCosts:
        self.times += 1
        return COSTS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "collapipe-ns3" / "costs"


def test_costs_are_measured_once_for_each_digest(folder: Path) -> None:
    measure = Counting()
    assert [cached(digest, measure) for digest in ("a", "b", "a", "b")] == [COSTS] * 4
    assert measure.times == 2
    assert sorted(file.name for file in folder.iterdir()) == ["a.json", "b.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"first": 1}',
        b'{"first": {"forward_flops": {"x": 1}}}',
    ],
)
def test_a_damaged_file_is_replaced(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(content)
    assert cached("a", Counting()) == COSTS
    assert ModelCosts.from_json(json.loads((folder / "a.json").read_bytes())) == COSTS


def test_a_place_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cached("a", Counting()) == COSTS


def test_a_file_is_written_whole_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    assert cached("a", Counting()) == COSTS
    assert not list(folder.iterdir())
