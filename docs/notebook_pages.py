"""The notebooks as pages, with their texts and their code."""

from __future__ import annotations

from pathlib import Path

import jupytext

FOLDER = Path(__file__).parent.parent / "analysis" / "notebooks"


def notebook(name: str) -> str:
    """A notebook as Markdown, without magics of IPython such as `%matplotlib inline`."""
    cells = jupytext.read(FOLDER / f"{name}.py").cells
    return "\n\n".join(_shown(cell.cell_type, cell.source) for cell in cells)


def _shown(kind: str, source: str) -> str:
    if kind == "markdown":
        return source
    if source.startswith("!"):
        return f"```\n$ {source.removeprefix('!')}\n```"
    lines = [line for line in source.splitlines() if not line.startswith("%")]
    return "\n".join(["```python", *lines, "```"]) if any(lines) else ""
