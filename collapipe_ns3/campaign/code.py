"""The code of a campaign's cells: which were made by other code than the present, and by which."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence

from collapipe_ns3.campaign import Campaign, Cell
from collapipe_ns3.problems import Problem, StudyError
from collapipe_ns3.run import code_identity
from collapipe_ns3.run.code_identity import CodeIdentity
from collapipe_ns3.run.manifest import code_changes
from collapipe_ns3.study import Study
from run_directory.files import part_of
from run_directory.whole import NotARun, NotWhole, RunHead, head
from run_directory.writing import RunDirectory

#: What changed since a cell was made, in words.
Stale = Mapping[Cell, tuple[str, ...]]

_MOST_CELLS = 8


def present_code(cells: Iterable[Cell]) -> dict[Cell, CodeIdentity]:
    """The code that would make each cell here and now."""
    known: dict[tuple[tuple[str, str], ...], CodeIdentity] = {}
    found = {}
    for cell in cells:
        used = code_identity.plug_ins(Study.from_yaml(cell.study).config)
        key = tuple(used.items())
        if key not in known:
            known[key] = code_identity.of_plug_ins(used)
        found[cell] = known[key]
    return found


def stale_cells(
    campaign: Campaign, present: Mapping[Cell, CodeIdentity]
) -> dict[Cell, tuple[str, ...]]:
    """The cells with rounds that other code than the present made, and what changed since."""
    found = {}
    for cell in campaign.cells:
        there = _head(campaign, cell)
        if there is None:
            continue
        if changed := code_changes(there.manifest, range(there.rounds), present[cell]):
            found[cell] = changed
    return found


def has_rounds(campaign: Campaign, cell: Cell) -> bool:
    """Whether a cell's directory has any of its rounds."""
    there = _head(campaign, cell)
    return there is not None and there.rounds > 0


def _head(campaign: Campaign, cell: Cell) -> RunHead | None:
    """The run in a cell's directory, None where it isn't the cell's, or can't be read."""
    try:
        there = head(campaign.place(cell))
    except (NotARun, NotWhole, OSError):
        return None
    return there if there.study == cell.study else None


def refuse(study: str, campaign: Campaign, stale: Stale) -> None:
    """Raises `StudyError` that names what changed and the cells concerned, if there are any."""
    if not stale:
        return
    problems = [
        Problem("--out", f"{_listed(cells)}: {'; '.join(changed)}")
        for changed, cells in _by_change(stale).items()
    ]
    what = (
        f"{campaign.directory} has {len(stale)} of {len(campaign.cells)} cells by other code than "
        "the present; nothing was changed there: --fresh makes them again, --keep-stale uses them "
        "and marks them"
    )
    raise StudyError(study, [Problem("--out", what), *problems])


def discard(campaign: Campaign, cells: Iterable[Cell]) -> None:
    """Removes what there is of these cells."""
    for cell in cells:
        place = campaign.place(cell)
        aside = part_of(place)
        shutil.rmtree(aside, ignore_errors=True)
        # A process of a campaign that was killed may still be at its last round.
        with RunDirectory(place, wait=True):
            place.replace(aside)
        shutil.rmtree(aside)


def _by_change(stale: Stale) -> dict[tuple[str, ...], list[Cell]]:
    grouped: dict[tuple[str, ...], list[Cell]] = {}
    for cell, changed in stale.items():
        grouped.setdefault(changed, []).append(cell)
    return grouped


def _listed(cells: Sequence[Cell]) -> str:
    more = [f"and {len(cells) - _MOST_CELLS} more"] if len(cells) > _MOST_CELLS else []
    return ", ".join([*(cell.name for cell in cells[:_MOST_CELLS]), *more])
