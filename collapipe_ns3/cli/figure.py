"""The command `figure`: one figure of runs, as a file."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.reading_runs import expect_writable, load_runs, refusals, write
from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.terminal import out, print_json

if TYPE_CHECKING:
    from analysis.figures.registry import FigureKind

#: Settings of the command: options that it does not have are those of the figure.
CONTEXT = {"ignore_unknown_options": True}

#: The option of the command that each figure has.
_WIDTH = "width"

#: The end of parameters that would have the name of a function of Python without it.
_NUMBER = "_number"


def figure(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME RUN… [--OPTION VALUE]…",
            help="The figure, and directories of runs or campaigns; then the figure's own options.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file; its suffix is the format."),
    ] = None,
    width: Annotated[
        str, typer.Option(metavar="column|page", help="The width: 3.5 or 7.16 inches.")
    ] = "page",
    dpi: Annotated[
        int, typer.Option(metavar="N", min=30, max=2400, help="Dots per inch of raster formats.")
    ] = 300,
    listed: Annotated[
        bool, typer.Option("--list", help="List the figures and their options.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw a figure of runs and campaigns, and write it to a file."""
    name, directories, given = _divided(arguments or [])
    with refusals("no figure can be drawn" if name is None else f"no figure {name}", as_json):
        if listed:
            _list(as_json)
            return
        from analysis.figures.image_file import image_bytes
        from analysis.figures.style import CannotDraw
        from collapipe_ns3.problems import Problem, StudyError

        kind = _kind(name)
        options = _options(kind, {**given, _shown(_WIDTH): width})
        if output is None:
            raise StudyError("", [Problem("-o", "expected the file to write, as in -o figure.pdf")])
        if not directories:
            raise StudyError("", [Problem("", "expected directories of runs after the name")])
        image_format = _format(output)
        expect_writable("-o", output)
        runs = load_runs([Path(each) for each in directories])
        try:
            drawn = kind.draw(runs, **options)
        except CannotDraw as error:
            raise StudyError("", [Problem("", str(error))]) from None
        try:
            content = image_bytes(drawn, image_format, dpi)
        except (ValueError, OSError, MemoryError) as error:  # formats have limits in pixels
            what = f"{output} can't have this many pixels, try a smaller --dpi: {error}"
            raise StudyError("", [Problem("-o", what)]) from None
        write("-o", output, content)
        if as_json:
            names = [run.name for run in runs.runs]
            print_json({"ok": True, "figure": kind.name, "file": str(output), "runs": names})
        else:
            print_text(out, f"{kind.title}: {output}")


def _divided(arguments: Sequence[str]) -> tuple[str | None, list[str], dict[str, str]]:
    """The name, the directories and the figure's options among the arguments.

    Each option of a figure takes a value: `--round 3` or `--round=3`.
    """
    places: list[str] = []
    options: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("--") and len(argument) > 2:
            key, equals, value = argument.removeprefix("--").partition("=")
            following = value if equals else next(rest, None)
            if following is None:
                raise typer.BadParameter(f"expected a value after {argument}")
            options[f"--{key}"] = following
        elif argument.startswith("-") and len(argument) > 1:
            raise typer.BadParameter(f"no such option: {argument}")
        else:
            places.append(argument)
    return (places[0] if places else None), places[1:], options


def _kind(name: str | None) -> FigureKind:
    from analysis.figures.registry import FIGURES
    from collapipe_ns3.names import did_you_mean
    from collapipe_ns3.problems import Problem, StudyError

    if name is None:
        what = f"expected the name of a figure: {', '.join(FIGURES)}"
        raise StudyError("", [Problem("", what)])
    if name not in FIGURES:
        what = f"there is no such figure; {did_you_mean(name, FIGURES)}"
        raise StudyError("", [Problem("", what)])
    return FIGURES[name]


def _options(kind: FigureKind, given: Mapping[str, str]) -> dict[str, Any]:
    """The figure's options with values of their types; raises `StudyError` with all problems."""
    from pydantic import TypeAdapter, ValidationError

    from collapipe_ns3.problems import Problem, StudyError

    types_of = typing.get_type_hints(kind.function)
    options: dict[str, Any] = {}
    problems: list[Problem] = []
    known = {_shown(key): key for key in kind.options}
    for option, text in given.items():
        if option not in known:
            what = f"the figure {kind.name} has no such option; {_near(option, known)}"
            problems.append(Problem(option, what))
            continue
        key = known[option]
        value = text.split(",") if _takes_several(types_of[key]) else text
        try:
            options[key] = TypeAdapter(types_of[key]).validate_python(value)
        except ValidationError:
            what = f"expected {_in_words(types_of[key])}, not {text!r}"
            problems.append(Problem(option, what))
    if problems:
        raise StudyError("", problems)
    return options


def _near(option: str, known: Collection[str]) -> str:
    """The option that was probably meant, else the figures that have it, else those there are."""
    from analysis.figures.registry import FIGURES
    from collapipe_ns3.names import did_you_mean

    others = [kind.name for kind in FIGURES.values() if option in map(_shown, kind.options)]
    if others:
        return f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} it"
    near = did_you_mean(option, [*known, "--dpi", "--output"])
    return near if near.startswith("did you mean") else f"it has {', '.join(known)}"


def _shown(key: str) -> str:
    """An option as users write it: `--round` of a parameter `round_number`."""
    return f"--{key.removesuffix(_NUMBER).replace('_', '-')}"


def _takes_several(hint: Any) -> bool:
    """Whether values of this type are lists, written with commas between their items."""
    if _is_union(hint):
        return any(map(_takes_several, typing.get_args(hint)))
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Collection)


def _format(path: Path) -> str:
    """The format that the file's suffix names; raises `StudyError`."""
    from analysis.figures.image_file import image_formats
    from collapipe_ns3.problems import Problem, StudyError

    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in image_formats():
        which = f"not .{suffix}" if suffix else "but there is none"
        choices = ", ".join(f".{each}" for each in image_formats())
        raise StudyError("", [Problem("-o", f"{path}: expected a suffix of {choices}, {which}")])
    return suffix


def _list(as_json: bool) -> None:
    from analysis.figures.registry import FIGURES

    if as_json:
        kinds = [
            {"name": k.name, "title": k.title, "caption": k.caption, "options": described(k)}
            for k in FIGURES.values()
        ]
        print_json({"ok": True, "figures": kinds})
        return
    for kind in FIGURES.values():
        options = "".join(f"\n    {name}: {rest}" for name, rest in described(kind).items())
        print_text(out, f"{kind.name}: {kind.title}\n    {kind.caption}{options}")
    print_text(out, "Every figure also has --width and --dpi: collapipe-ns3 figure --help")


def described(kind: FigureKind) -> dict[str, str]:
    """The options of a figure other than its width: what each means and takes, and its default."""
    types_of = typing.get_type_hints(kind.function)
    return {
        _shown(key): f"{_in_words(types_of[key])}{_default(parameter)}{_meaning(key)}"
        for key, parameter in kind.options.items()
        if key != _WIDTH
    }


def _meaning(key: str) -> str:
    from analysis.figures.registry import OPTIONS

    return f": {OPTIONS[key]}" if key in OPTIONS else ""


def _default(parameter: inspect.Parameter) -> str:
    has_default = parameter.default not in (None, "", (), parameter.empty)
    return f" ({parameter.default} unless given)" if has_default else ""


def _in_words(hint: Any) -> str:
    """What values of this type are, for people: `a whole number`."""
    members = [each for each in typing.get_args(hint) if each not in (type(None), ...)]
    if _is_union(hint):
        return " or ".join(map(_in_words, members))
    if typing.get_origin(hint) is Literal:
        return " or ".join(str(each) for each in members if each)
    if typing.get_origin(hint) is tuple and ... not in typing.get_args(hint):
        return f"{' and '.join(map(_in_words, members))}, with a comma between them"
    if _takes_several(hint):
        return f"{_in_words(members[0])}, or several with commas between them"
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(hint, "a text")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (types.UnionType, typing.Union)
