"""The reference of the figures, from their registry."""

from __future__ import annotations

import inspect

from analysis.figures import FIGURES, FigureKind
from collapipe_ns3.cli.figure import described


def figures() -> str:
    """A section for each figure with its docstring and its options, as Markdown."""
    return "\n\n".join(map(_section, FIGURES.values()))


def _section(kind: FigureKind) -> str:
    parts = [f"## `{kind.name}`", f"**{kind.title}**", inspect.getdoc(kind.function)]
    if options := described(kind):
        rows = [f"| `{option}` | {text} |" for option, text in options.items()]
        parts.append("\n".join(["| option | value |", "| --- | --- |", *rows]))
    return "\n\n".join(part for part in parts if part)
