"""The keys in which the studies of runs differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from analysis.run import Run

#: The settings of a run's scheme, which other schemes need not have.
_OF_SCHEMES = "scheme.settings."

#: The value of a key that a study does not have.
UNSET = "(not set)"


def flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each key of a study as a path (`clusters[0].cu.profile`), with its value as JSON."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(settings, list) and any(isinstance(each, Mapping) for each in settings):
        for number, value in enumerate(settings):
            yield from flat(value, f"{prefix}[{number}]")
    else:
        text = settings if isinstance(settings, str) else json.dumps(settings, ensure_ascii=False)
        yield prefix, text


def differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The keys in which the studies of the runs differ, with the value of each run.

    A section that some of the studies have as a plain value, such as null, is one key.
    """
    studies = _with_whole_sections([dict(flat(run.study)) for run in runs])
    keys = dict.fromkeys(key for study in studies for key in study)
    values = {key: [study.get(key, UNSET) for study in studies] for key in keys}
    return {key: found for key, found in values.items() if len(set(found)) > 1}


def _with_whole_sections(studies: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The flat studies, where keys below a key that any of them has are put into its value."""
    keys = {key for study in studies for key in study}
    return [_joined(study, keys) for study in studies]


def _joined(study: Mapping[str, str], sections: Collection[str]) -> dict[str, str]:
    joined: dict[str, str] = {}
    below: dict[str, list[str]] = {}
    for key, value in study.items():
        parts = key.split(".")
        above = (".".join(parts[:count]) for count in range(1, len(parts)))
        section = next((each for each in above if each in sections), None)
        if section is None:
            joined[key] = value
        else:
            below.setdefault(section, []).append(f"{key.removeprefix(f'{section}.')}: {value}")
            joined[section] = f"{{{', '.join(below[section])}}}"
    return joined


def unexplained(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The `differences` other than seed, scheme, and settings that only differ between schemes."""
    schemes = [run.scheme for run in runs]
    return {
        key: values
        for key, values in differences(runs).items()
        if key not in ("seed", "scheme.name")
        and not (
            key.startswith(_OF_SCHEMES)
            and len(set(zip(schemes, values, strict=True))) == len(set(schemes))
        )
    }
