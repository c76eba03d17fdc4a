"""Parses YAML text into plain data, within limits, and with the line of every key.

The time and memory for any text are proportional to its length and to `MOST_VALUES`, and the result
is either data or problems with their lines.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import Reader
from yaml.resolver import Resolver

from collapipe_ns3.problems import Place, Problem, path_of

MOST_BYTES = 64 * 2**20
MOST_VALUES = 1_000_000
"""The most values in a document, where an alias counts as all the values that it stands for."""
DEEPEST = 32
LONGEST_KEY = 200
LONGEST_NUMBER = 100
"""The most characters of a number; longer scalars are text."""

_TAG = "tag:yaml.org,2002:"
_NEVER_MEANT = (f"{_TAG}timestamp", f"{_TAG}value")
_DIGITS = re.compile(r"[-+]?[0-9][0-9_]*")
_INDEX = re.compile(r"\[([0-9]+)\]\.?")


class BadYaml(ValueError):
    """A text that is not YAML, or exceeds a limit; `problem` has the line."""

    def __init__(self, message: str, line: int) -> None:
        self.problem = Problem("", message, line=line)
        super().__init__(str(self.problem))


@dataclass(slots=True)
class Entry:
    """A value of a document as plain data, the line of its key (or its own), and its inner entries.

    `inner` has the entries of a mapping by their keys as text, or those of a list in order.
    """

    data: Any
    line: int
    inner: dict[str, Entry] | list[Entry] = field(default_factory=dict)
    size: int = 1  # values, itself included
    height: int = 1  # levels, its own included

    def line_of(self, path: str) -> int:
        """The line of the value at a path like `a.b[0].c`, or of the nearest section around it."""
        here = self
        while path and (step := here._step(path)):
            here, path = step
        return here.line

    def _step(self, path: str) -> tuple[Entry, str] | None:
        """The entry that the path's first part leads to, and the rest of the path."""
        if isinstance(self.inner, list):
            index = _INDEX.match(path)
            if index is None or int(index[1]) >= len(self.inner):
                return None
            return self.inner[int(index[1])], path[index.end() :]
        ends = [found.start() for found in re.finditer(r"[.\[]", path[: LONGEST_KEY + 1])]
        for end in (*ends, len(path)):  # keys may have dots in them
            if (entry := self.inner.get(path[:end])) is not None:
                return entry, path[end:].removeprefix(".")
        return None


def parse(text: str) -> tuple[Entry, list[Problem]]:
    """The document in a text, and the problems of single values, which are None in the document.

    Raises `BadYaml` where the text as a whole can't be read.
    """
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise BadYaml(f"expected at most {MOST_BYTES // 2**20} MiB", 1)
    if wrong := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, wrong.start()) + 1
        raise BadYaml(f"the character {wrong[0]!r} can't stand in YAML", line)
    reader = _Reader(text)
    try:
        return reader.document(), reader.problems
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text) from None
    except yaml.YAMLError as error:
        raise BadYaml(str(error), 1) from None


def _not_yaml(error: yaml.MarkedYAMLError, text: str) -> BadYaml:
    """The parser's error; an error at the end of the text is reported for its last line."""
    mark, begun = error.problem_mark, error.context_mark
    if mark is None:
        return BadYaml(str(error), 1)
    within = f", {error.context} from line {begun.line + 1} on" if error.context and begun else ""
    line = min(mark.line, len(text.splitlines()) - 1) + 1
    return BadYaml(f"{error.problem}{within}", line)


class _Scalars(SafeConstructor, Resolver):
    """Scalars of YAML 1.1, except that 1e-3 is a number, and a date is text."""


_Scalars.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NEVER_MEANT]
    for first, resolvers in Resolver.yaml_implicit_resolvers.items()
}
_Scalars.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$", re.ASCII),
    list("-+0123456789."),
)


class _Reader:
    """Builds a document in one pass over the events of a text."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
        self._scalars = _Scalars()
        self._anchors: dict[str, Entry | None] = {}  # None while the anchored value is being read
        self._values = 0

    def document(self) -> Entry:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Entry(None, 1)
        entry = self._entry(next(self._events), ())
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise BadYaml("expected one document", _line(after))
        return entry

    def _entry(self, event: yaml.Event, place: Place) -> Entry:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self._copied(event, place)
        self._count(1, 1, line, place)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            entry = Entry(self._scalar(event, place), line)
        else:
            tag = getattr(event, "tag", None)
            if tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
                raise BadYaml(f"expected keys with values or a list, not {_short(tag)}", line)
            is_list = isinstance(event, yaml.SequenceStartEvent)
            entry = self._list(line, place) if is_list else self._mapping(line, place)
        if anchor is not None:
            self._anchors[anchor] = entry
        return entry

    def _copied(self, alias: yaml.AliasEvent, place: Place) -> Entry:
        """A copy of the value that an alias stands for, so that each can be changed alone."""
        anchor, line = str(alias.anchor), _line(alias)
        entry = self._anchors.get(anchor)
        if entry is None:
            why = "stands within what it names" if anchor in self._anchors else "names nothing"
            raise BadYaml(f"the alias *{anchor} {why}", line)
        self._count(entry.size, entry.height, line, place)
        return Entry(copy.deepcopy(entry.data), line, entry.inner, entry.size, entry.height)

    def _count(self, values: int, height: int, line: int, place: Place) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise BadYaml(f"expected at most {MOST_VALUES} values, aliases expanded", line)
        if len(place) + height > DEEPEST:
            raise BadYaml(f"is nested too deep: expected at most {DEEPEST} levels", line)

    def _list(self, line: int, place: Place) -> Entry:
        inner: list[Entry] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            inner.append(self._entry(event, (*place, len(inner))))
        return _around([entry.data for entry in inner], line, inner, inner)

    def _mapping(self, line: int, place: Place) -> Entry:
        data: dict[Any, Any] = {}
        inner: dict[str, Entry] = {}
        merged: list[Entry] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, key_line = self._key(event, place), _line(event)
            name = str(key)
            entry = self._entry(next(self._events), (*place, name))
            if _is_merge(event):
                merged += self._mappings(entry, key_line)
            elif name in inner:
                what = f"the key {name!r} stands twice, first in line {inner[name].line}"
                self.problems.append(Problem(path_of((*place, name)), what, line=key_line))
            else:
                entry.line = key_line
                data[key], inner[name] = entry.data, entry
        for entry in merged:  # keys of this mapping take precedence over merged ones
            data = {**entry.data, **data}
            inner = {**_mapping_of(entry), **inner}
        return _around(data, line, inner, list(inner.values()))

    def _key(self, event: yaml.Event, place: Place) -> Any:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            key = self._copied(event, place).data
        elif isinstance(event, yaml.ScalarEvent):
            key = event.value if _is_merge(event) else self._scalar(event, place)
        else:
            key = []
        if isinstance(key, list | dict):
            raise BadYaml("expected a text as a key, not a list or keys with values", line)
        if len(name := str(key)) > LONGEST_KEY:
            raise BadYaml(
                f"expected a key of at most {LONGEST_KEY} characters, not {len(name)}", line
            )
        return key

    def _mappings(self, entry: Entry, line: int) -> list[Entry]:
        """The mappings that `<<` merges: one, or a list of them in order of precedence."""
        entries = entry.inner if isinstance(entry.inner, list) else [entry]
        if not all(isinstance(each.data, dict) for each in entries):
            raise BadYaml("expected keys with values, or a list of such, to merge", line)
        return entries

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Any:
        value, tag = event.value, event.tag
        if tag in (None, "!"):
            long = len(value) > LONGEST_NUMBER
            if long and event.implicit[0] and _DIGITS.fullmatch(value):
                return self._wrong(event, place, f"expected at most {LONGEST_NUMBER} digits")
            implicit = (False, True) if long else event.implicit
            resolve: Callable[[type[yaml.Node], str, tuple[bool, bool]], str] = (
                self._scalars.resolve
            )
            tag = resolve(yaml.ScalarNode, value, implicit)
        elif len(value) > LONGEST_NUMBER and tag in (f"{_TAG}int", f"{_TAG}float"):
            return self._wrong(event, place, f"expected at most {LONGEST_NUMBER} digits")
        if not value.isascii() and re.search("[\ud800-\udfff]", value):
            return self._wrong(event, place, "expected text that UTF-8 can have")
        node = yaml.ScalarNode(tag, value)
        construct = {
            f"{_TAG}str": self._scalars.construct_yaml_str,
            f"{_TAG}null": self._scalars.construct_yaml_null,
            f"{_TAG}bool": self._scalars.construct_yaml_bool,
            f"{_TAG}int": self._scalars.construct_yaml_int,
            f"{_TAG}float": self._scalars.construct_yaml_float,
        }.get(tag)
        if construct is None:
            return self._wrong(event, place, f"expected a plain value, not {_short(tag)}")
        try:
            return construct(node)
        except (ValueError, LookupError, ArithmeticError):
            return self._wrong(event, place, f"{value[:40]!r} is no {tag.removeprefix(_TAG)}")

    def _wrong(self, event: yaml.Event, place: Place, what: str) -> None:
        self.problems.append(Problem(path_of(place), what, line=_line(event)))


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return 1 if mark is None else int(mark.line) + 1


def _short(tag: str) -> str:
    return tag[:60].replace(_TAG, "!!")


def _is_merge(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]


def _mapping_of(entry: Entry) -> dict[str, Entry]:
    return entry.inner if isinstance(entry.inner, dict) else {}


def _around(data: Any, line: int, inner: Any, within: list[Entry]) -> Entry:
    size = 1 + sum(entry.size for entry in within)
    return Entry(data, line, inner, size, 1 + max((each.height for each in within), default=0))
