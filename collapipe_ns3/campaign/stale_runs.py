"""Stale runs of a campaign: those that other code than the present made, and what changed since."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence

from collapipe_ns3.campaign import Campaign, CampaignRun
from collapipe_ns3.problems import Problem, StudyError
from collapipe_ns3.run import code_identity
from collapipe_ns3.run.code_identity import CodeIdentity
from collapipe_ns3.run.manifest import code_changes
from collapipe_ns3.study import Study
from run_directory.files import part_of
from run_directory.whole import NotARun, NotWhole, RunHead, head
from run_directory.writing import RunDirectory

#: By stale run, the changes of the code since it was made, as text.
StaleRuns = Mapping[CampaignRun, tuple[str, ...]]

_MOST_NAMED = 8  # runs in one message


def present_code(runs: Iterable[CampaignRun]) -> dict[CampaignRun, CodeIdentity]:
    """The code that would make each run here and now."""
    identities: dict[tuple[object, ...], CodeIdentity] = {}
    found = {}
    for run in runs:
        config = Study.from_yaml(run.study).config
        used, libraries = code_identity.plug_ins(config), code_identity.libraries(config)
        key = (*used.items(), *libraries)
        if key not in identities:
            identities[key] = code_identity.of_plug_ins(used, libraries)
        found[run] = identities[key]
    return found


def find(
    campaign: Campaign, present: Mapping[CampaignRun, CodeIdentity]
) -> dict[CampaignRun, tuple[str, ...]]:
    """The runs with rounds that other code than the present made, and what changed since."""
    found = {}
    for run in campaign.runs:
        written = _head(campaign, run)
        if written is None:
            continue
        if changed := code_changes(written.manifest, range(written.rounds), present[run]):
            found[run] = changed
    return found


def has_rounds(campaign: Campaign, run: CampaignRun) -> bool:
    """Whether a run's directory holds any of its rounds."""
    written = _head(campaign, run)
    return written is not None and written.rounds > 0


def _head(campaign: Campaign, run: CampaignRun) -> RunHead | None:
    """The head of the run's directory; None where it holds another run, or can't be read."""
    try:
        written = head(campaign.directory_of(run))
    except (NotARun, NotWhole, OSError):
        return None
    return written if written.study == run.study else None


def refuse(study: str, campaign: Campaign, stale: StaleRuns) -> None:
    """Raises `StudyError` that names the stale runs and what changed; does nothing for none."""
    if not stale:
        return
    problems = [
        Problem("--out", f"{_names(runs)}: {'; '.join(changed)}")
        for changed, runs in _by_change(stale).items()
    ]
    what = (
        f"in {campaign.directory}, {len(stale)} of {len(campaign.runs)} runs were made by other "
        "code than the present; nothing was changed there: --fresh makes them again, --keep-stale "
        "uses them and marks them"
    )
    raise StudyError(study, [Problem("--out", what), *problems])


def discard(campaign: Campaign, runs: Iterable[CampaignRun]) -> None:
    """Deletes the directories of these runs."""
    for run in runs:
        directory = campaign.directory_of(run)
        aside = part_of(directory)
        shutil.rmtree(aside, ignore_errors=True)
        # A worker process of a campaign that was killed may still be writing its last round.
        with RunDirectory(directory, wait=True):
            directory.replace(aside)
        shutil.rmtree(aside)


def _by_change(stale: StaleRuns) -> dict[tuple[str, ...], list[CampaignRun]]:
    grouped: dict[tuple[str, ...], list[CampaignRun]] = {}
    for run, changed in stale.items():
        grouped.setdefault(changed, []).append(run)
    return grouped


def _names(runs: Sequence[CampaignRun]) -> str:
    more = [f"and {len(runs) - _MOST_NAMED} more"] if len(runs) > _MOST_NAMED else []
    return ", ".join([*(run.name for run in runs[:_MOST_NAMED]), *more])
