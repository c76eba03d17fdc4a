"""Problems of a study, each with its place in the study file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from collapipe_ns3.names import did_you_mean
from run_directory.whole import NotARun, NotWhole

#: A place in a study: the keys and list indices that lead to it.
Place = tuple[str | int, ...]

#: At most this many problems in form (of type or bounds) are listed.
MOST_IN_FORM = 100
_MOST_SHOWN = 200
_LONGEST = 600  # characters of a message


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem at a place of the study (`clusters[0].devices[1].profile`).

    `file` and `line` are where the place, or the nearest section around it, is written: in the
    study file, or in a `--set` option. They are empty and None where that is unknown.
    """

    path: str
    message: str
    file: str = ""
    line: int | None = None

    @property
    def where(self) -> str:
        """`file:line: path`, without the parts that are unknown."""
        if self.file and self.line is not None:
            source = f"{self.file}:{self.line}"
        else:
            source = self.file or ("" if self.line is None else f"line {self.line}")
        return ": ".join(filter(None, (source, self.path)))

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def to_json(self) -> dict[str, Any]:
        """Plain data; `file` and `line` are null where they are unknown."""
        return {
            "path": self.path,
            "message": self.message,
            "file": self.file or None,
            "line": self.line,
        }


class StudyError(ValueError):
    """A study that can't be run; the message lists its problems, up to a useful number."""

    def __init__(self, study: str, problems: Iterable[Problem]) -> None:
        self.study = study
        self.problems = tuple(_cut(tuple(problems)))
        super().__init__("\n  ".join([f"study {study}:", *map(str, self.problems)]))


def _cut(problems: tuple[Problem, ...]) -> Iterator[Problem]:
    """The first problems, with long messages shortened."""
    for problem in problems[:_MOST_SHOWN]:
        text = problem.message
        short = text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-100:]}"
        yield replace(problem, message=short)
    if (more := len(problems) - _MOST_SHOWN) > 0:
        yield Problem("", f"and {more} more")


def of_run_directory(error: NotARun | NotWhole) -> list[Problem]:
    """The problems of a run directory, each with the file concerned."""
    if isinstance(error, NotARun):
        return [Problem("", str(error))]
    return [Problem(str(error.directory / name), what) for name, what in error.problems]


def path_of(place: Place) -> str:
    """A place as users write it."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def from_pydantic(
    error: ValidationError, keys_at: Callable[[Place], Iterable[str]]
) -> list[tuple[Place, Problem]]:
    """Pydantic's errors as problems, of which at most `MOST_IN_FORM` are listed.

    `keys_at` gives the valid keys of the section at a place.
    """
    found = []
    details = error.errors(include_url=False)
    # A value of one of several forms, and the key of a mapping, have a part in brackets more.
    places = [
        tuple(part for part in detail["loc"] if not str(part).startswith(("[", "(")))
        for detail in details
    ]
    around = {place[:depth] for place in places for depth in range(len(place))}
    for number, (place, detail) in enumerate(zip(places, details, strict=True)):
        if detail["type"] == "too_short" and place in around:
            continue  # pydantic does not count items with errors, which have their own problems
        if number == MOST_IN_FORM:
            found.append((place, Problem("", f"and {len(details) - number} more in form")))
            break
        message = _message(detail, place, keys_at)
        found.append((place, Problem(path_of(place), message)))
    return found


def _message(detail: ErrorDetails, place: Place, keys_at: Callable[[Place], Iterable[str]]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"no such key; {did_you_mean(str(place[-1]), keys_at(place[:-1]))}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    given = shown(detail["input"])
    if kind == "literal_error":
        valid = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        near = did_you_mean(str(detail["input"]), valid)
        hint = f"; {near}" if near.startswith("did you mean") else ""
        return f"expected {context['expected']}, not {given}{hint}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind].format_map(_Plain(context))}, not {given}"
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, not {given}"


class _Plain(dict[str, Any]):
    """Formats the bounds of an error message without a trailing `.0`."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        super().__init__(
            {key: f"{v:g}" if isinstance(v, float) else v for key, v in context.items()}
        )


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "list_type": "a list",
    "tuple_type": "a list",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "letters, digits, dots, dashes and underscores",
}


def shown(value: object) -> str:
    """A value as text for an error message, shortened to fit on a line."""
    if isinstance(value, Mapping):
        return "keys with values"
    if isinstance(value, list | tuple):
        return f"{len(value)} of them" if len(str(value)) > 40 else str(list(value))
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"  # which Python refuses to convert to text
    return text if len(text) <= 60 else text[:57] + "…'"
