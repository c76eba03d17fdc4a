"""Pages of docs/ that are written from a Jinja template and from JSON files beside it.

A template is `docs/results/NAME.md.j2`, and its page `docs/NAME.md`. Sentences of a template that
depend on the data have a `require(condition, sentence)` beside them, so that a page which its data
no longer supports is not written.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from num2words import num2words

from run_directory.files import replace

DOCS = Path(__file__).parent.parent / "docs"


class Unsupported(Exception):
    """A sentence of a page that its data does not support."""


def render(name: str, values: Mapping[str, Any]) -> str:
    """The page `name` as Markdown; raises `Unsupported` where the data contradicts its text."""
    environment = Environment(
        loader=FileSystemLoader(DOCS / "results"),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, from files of this repository
        trim_blocks=True,
        lstrip_blocks=True,
        line_statement_prefix="%%",
        extensions=["jinja2.ext.do"],
        keep_trailing_newline=True,
    )
    environment.globals.update(
        require=require, span=span, number=number, spelled=spelled, fraction=fraction
    )
    return environment.get_template(f"{name}.md.j2").render(values)


def write(name: str, text: str, docs: Path = DOCS) -> None:
    replace(docs / f"{name}.md", text.encode())


def differences(name: str, text: str, docs: Path = DOCS) -> list[str]:
    """The lines in which the page in `docs` differs from `text`, as a unified diff."""
    page = (docs / f"{name}.md").read_text()
    return list(
        difflib.unified_diff(
            page.splitlines(),
            text.splitlines(),
            f"docs/{name}.md",
            "as its data has it",
            lineterm="",
        )
    )


def require(condition: object, sentence: str) -> str:
    """An empty text; raises `Unsupported` with the sentence where the condition is false."""
    if not condition:
        raise Unsupported(f"the data does not support: {sentence}")
    return ""


def number(value: float, places: int = 0) -> str:
    """A number with this many decimals, and a minus sign rather than a hyphen."""
    return f"{value:.{places}f}".replace("-", "−")


def span(values: Iterable[float], places: int = 0) -> str:
    """The smallest and the largest value, as `41 to 78`; one number where both look the same."""
    known = sorted(values)
    ends = [number(known[0], places), number(known[-1], places)]
    return " to ".join(dict.fromkeys(ends))


def fraction(value: float) -> str:
    """A share of one half or less as the nearest unit fraction in words, as `a third`."""
    parts = round(1 / value)
    word = {2: "half", 4: "quarter"}.get(parts) or str(num2words(parts, to="ordinal"))
    return f"{'an' if word.startswith('e') else 'a'} {word}"


def spelled(value: int) -> str:
    """A whole number in words, as `three`."""
    return str(num2words(value))
