"""Studies with something wrong, or merely odd: bundled ones, changed at random places."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import yaml

from collapipe_ns3.reading import study_file

Place = tuple[str | int, ...]

_NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    10,
    1000,
    2**31,
    2**63,
    2**64,
    10**30,
    1e-300,
    1e-9,
    0.5,
    1e9,
    1e18,
    1e308,
)
_ODD_NUMBERS = (math.nan, math.inf, -math.inf, -0.0, True, -1e308)
_TEXTS = (
    "", " ", "²", "٣", "😀", "a\tb", "x" * 300, "ns3::Node", "../x", "~", "[]", "1_000", "0x10",
    "1e9999", "20 MHz", "5 dBm", "-1 s", "1e9 GHz", "3 apples", "10 km", "1 GiB", "2 ms", "100 mW",
    "-300 dBm",
)  # fmt: skip
_NAMES = (
    "ofdma", "wifi", "lte", "log-distance", "umi", "uma", "indoor", "p1411", "rayleigh", "nakagami",
    "ns3::FriisPropagationLossModel", "random-waypoint", "way", "jammer", "background", "fixed",
    "fractional", "packet", "sampled", "fdd", "tdd", "tcp", "udp", "direct", "spectrum", "tti",
    "fp16", "int8", "sgd", "adamw", "cardinal", "ordinal", "year", "date", "collapipe", "pipeline",
    "vanilla_fl", "titanic", "local", "oracle", "jetson-nano", "edge-server", "phone-midrange",
    "bs", "bs1", "d2d", "uplink", "downlink",
)  # fmt: skip

#: Parts that few bundled studies have.
_PARTS: tuple[tuple[str, Any], ...] = (
    ("stations", [{"position": [200, 0, 10]}]),
    ("interferers", [{"kind": "jammer", "tx_power_dbm": 10, "position": [9, 9]}]),
    (
        "interferers",
        [{"kind": "background", "tx_power_dbm": 9, "src": [5, 5], "dst": [6, 6], "rate_bps": 1e6}],
    ),
    ("propagation", {"d2d": {"model": "indoor", "fading": "rayleigh"}, "d2e": "uma"}),
    ("propagation", {"d2d": {"shadowing": {"sigma_db": 6, "distance_m": 20}}}),
    ("radio", {"d2d": "wifi", "d2e": "lte"}),
    ("radio", {"d2d": {"underlay": True}, "d2e": {"duplex": "tdd", "power": "fractional"}}),
    ("radio", {"d2d": {"transport": "tcp"}, "d2e": {"transport": "udp"}}),
    ("mobility", {"trace": "none.csv"}),
    ("scheme", {"name": "collapipe", "settings": {"most_micro_batches": 2}}),
    ("scheme", {"name": "titanic", "settings": {}}),
    ("ns3", {"ns3::TcpSocket::SegmentSize": 1000}),
    ("fidelity", "sampled"),
    ("task", {"phrases": 3, "test_size": 10, "cluster_size": 40, "limit": 30}),
    ("training", {"batch_size": 7, "wire": "int8", "optimizer": "sgd", "local_steps": 2}),
    ("placement", {"cell_radius_m": 2000, "cluster_radius_m": 300}),
    ("scenario", {"function": "no_such_module:build"}),
)  # fmt: skip


#: Changes `data`, or what is at the key `last` of a part of it.
Change = Callable[[Any, Any, Any, random.Random], None]


def mutant(seed: int) -> dict[str, Any]:
    """A bundled study with one to four things changed in whatever way, the same for a seed."""
    chance = random.Random(seed)
    data = bundled(chance)
    for _ in range(chance.randint(1, 4)):
        _mutate(data, chance, _CHANGES)
    return data


def small_mutant(seed: int) -> dict[str, Any]:
    """A small study with one to three things changed, often such that it can be run."""
    chance = random.Random(seed)
    data = small(chance)
    for _ in range(chance.randint(1, 3)):
        _mutate(data, chance, _MILD_CHANGES if chance.random() < 0.9 else _CHANGES)
    return data


def bundled(chance: random.Random) -> dict[str, Any]:
    """A bundled study as it is written, or with all of its defaults."""
    name = chance.choice(list(study_file.bundled()))
    return dict(copy.deepcopy(_bundled(name, resolved=chance.random() < 0.5)))


@cache
def _bundled(name: str, *, resolved: bool) -> dict[str, Any]:
    text = study_file.dump(study_file.read(name)) if resolved else study_file.bundled()[name]
    return dict(yaml.safe_load(text))


def small(chance: random.Random) -> dict[str, Any]:
    """A bundled study with two clusters of two devices, a tiny model and one round."""
    data = bundled(chance)
    clusters = data["clusters"][: chance.choice((1, 2, 2))]
    for cluster in clusters:
        cluster["devices"] = cluster["devices"][: chance.choice((1, 2, 2))]
    changes = {
        "rounds": 1,
        "clusters": clusters,
        "model": {
            "width": 16, "heads": 2, "feed_forward": 32, "encoder_blocks": 2, "decoder_blocks": 1,
        },
        "task": {"limit": 100, "kinds": ["cardinal", "date"], "test_size": 10, "cluster_size": 32},
        "training": {"batch_size": 8, "local_steps": 1},
    }  # fmt: skip
    return {**data, **changes}


def text(seed: int, data: dict[str, Any]) -> str:
    """The study as YAML, of which at times a character or a line is changed."""
    chance = random.Random(seed)
    written = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    lines = written.splitlines(keepends=True)
    kind = chance.random()
    at = chance.randrange(len(lines))
    if kind < 0.05:
        lines.insert(chance.randrange(len(lines)), lines[at])
    elif kind < 0.1:
        del lines[at]
    elif kind < 0.2:
        place = chance.randrange(len(lines[at]) + 1)
        mark = chance.choice("{}[]&*!|>%@`\"'#,:-?\t\0²" + "\ud800\x85")
        lines[at] = lines[at][:place] + mark + lines[at][place:]
    return "".join(lines)


def _mutate(data: dict[str, Any], chance: random.Random, changes: Sequence[Change]) -> None:
    places = _places(data)
    if not places:
        return
    *way, last = chance.choice(places)
    here: Any = data
    for step in way:
        here = here[step]
    chance.choice(changes)(data, here, last, chance)


def _places(data: Any, here: Place = ()) -> list[Place]:
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    found: list[Place] = []
    for key, value in list(inner):
        found.append((*here, key))
        if isinstance(value, dict | list):
            found += _places(value, (*here, key))
    return found


def _drop(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    del here[last]


def _duplicate(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    if isinstance(here, list):
        here.insert(0, copy.deepcopy(here[last]))
    else:
        here[f"{last}_"] = copy.deepcopy(here[last])


def _swap(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    """The value goes where another is, of which a copy comes here."""
    *way, other = chance.choice(_places(data))
    there: Any = data
    for step in way:
        there = there[step]
    here[last], there[other] = copy.deepcopy(there[other]), copy.deepcopy(here[last])


def _add(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    inner = here[last]
    if isinstance(inner, dict):
        inner[chance.choice((*_NAMES, *_TEXTS))] = chance.choice((*_NUMBERS, *_TEXTS))
    elif isinstance(inner, list):
        inner.append(chance.choice((*_NUMBERS, *_TEXTS)))
    else:
        here[last] = [inner]


def _retype(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    here[last] = chance.choice((None, [], {}, [[]], {"": None}, True, [None], {"kind": "way"}))


def _rename(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    here[last] = chance.choice(_NAMES)


def _scale(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    """A number somewhat larger or smaller, which may be just in or out of bounds."""
    value = here[last]
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        factor = chance.choice((-1, 0, 0.1, 0.5, 0.99, 1.01, 2, 3, 10))
        here[last] = int(value * factor) if isinstance(value, int) else value * factor
    else:
        here[last] = chance.choice(_NUMBERS)


def _number(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    here[last] = chance.choice((*_NUMBERS, *_ODD_NUMBERS))


def _text(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    here[last] = chance.choice(_TEXTS)


def _part(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    key, part = chance.choice(_PARTS)
    data[key] = copy.deepcopy(part)


def _somewhat(data: Any, here: Any, last: Any, chance: random.Random) -> None:
    """A number up to twice or half of what it is."""
    value = here[last]
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
        here[last] = type(value)(value * chance.choice((0.5, 0.9, 1.1, 2)))
    else:
        _part(data, here, last, chance)


_CHANGES: tuple[Change, ...] = (
    _drop, _duplicate, _swap, _add, _retype, _rename, _scale, _scale, _number, _text, _part, _part,
)  # fmt: skip
_MILD_CHANGES: tuple[Change, ...] = (_part, _part, _somewhat, _somewhat, _somewhat, _scale)
