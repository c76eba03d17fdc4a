"""The reference of the figures, from their registry."""

from __future__ import annotations

import inspect

from analysis.figures import FIGURES, FigureKind


def figures() -> str:
    """A section for each figure with its docstring and its options, as Markdown."""
    return "\n\n".join(map(_section, FIGURES.values()))


def _section(kind: FigureKind) -> str:
    options = {name: each for name, each in kind.options.items() if name != "width"}
    parts = [
        f"## `{kind.name}`",
        f"**{kind.title}**",
        inspect.getdoc(kind.function),
    ]
    if options:
        rows = [
            f"| `--{name.replace('_', '-')}` | {_default(each)} |" for name, each in options.items()
        ]
        parts.append("\n".join(["| option | default |", "| --- | --- |", *rows]))
    return "\n\n".join(part for part in parts if part)


def _default(option: inspect.Parameter) -> str:
    return "" if option.default in (None, inspect.Parameter.empty) else f"`{option.default}`"
