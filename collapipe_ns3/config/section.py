"""The base class of the sections of a study file: strict keys, shorthands, kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    WithJsonSchema,
    model_validator,
)

from collapipe_ns3.problems import Place, Problem, path_of
from collapipe_ns3.quantity import Metres

Count = Annotated[int, Field(ge=1, le=10**9)]
Decibels = Annotated[float, Field(ge=-100, le=100)]

#: Metres east and north of the base station, and height above ground (by default 1.5 m).
Position = Annotated[
    tuple[Annotated[Metres, Field(ge=-1e6, le=1e6)], ...],
    Strict(False),
    Field(min_length=2, max_length=3),
]


def _plain(value: object) -> object:
    if not isinstance(value, str | int | float | bool):
        raise ValueError(f"expected text, a number, true or false, not {value!r}")  # noqa: TRY004  # pydantic reports ValueErrors
    return value


#: The value of an ns-3 attribute.
Attribute = Annotated[
    Any,
    AfterValidator(_plain),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


#: The kinds that have a key, by key; or the keys that a kind needs, by kind.
Keys = Mapping[str, tuple[str, ...]]


class Section(BaseModel):
    """A section (mapping) of the study file.

    A section with a `shorthand` may be written as the value of that key alone. A section may have
    several kinds, which the key `chooses` selects: `only` has the kinds that allow a key, for keys
    that not all kinds have, and `needs` the keys that a kind requires.
    """

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    shorthand: ClassVar[str | None] = None
    chooses: ClassVar[str] = ""
    only: ClassVar[Keys] = {}
    needs: ClassVar[Keys] = {}

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, value: object) -> object:
        return {cls.shorthand: value} if cls.shorthand and isinstance(value, str) else value

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the named keys that the study sets, with their values."""
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


def kind_problems(value: object, place: Place = ()) -> Iterator[tuple[Place, Problem]]:
    """Problems of this section, and those within, with keys that their kinds refuse or need."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from kind_problems(item, (*place, index))
    if not isinstance(value, Section):
        return
    kind = getattr(value, value.chooses) if value.chooses else ""
    for key, kinds in value.only.items():
        if kind not in kinds and getattr(value, key) is not None:
            what = f"{kind} has no such key, {' and '.join(kinds)} has"
            yield (*place, key), Problem(path_of((*place, key)), what)
    for key in value.needs.get(kind, ()):
        if getattr(value, key) is None:
            yield (*place, key), Problem(path_of((*place, key)), f"is missing: {kind} needs it")
    for key, inner in value:
        yield from kind_problems(inner, (*place, key))
