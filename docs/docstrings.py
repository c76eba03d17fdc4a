"""A Sphinx extension that reads docstrings as this project writes them: code in single backticks,
and longer code indented.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(?=(\w?))")


def _as_restructured_text(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    text = _CODE.sub(lambda code: f"``{code[1]}``" + ("\\ " if code[2] else ""), "\n".join(lines))
    marked: list[str] = []
    above = ""
    for line in text.splitlines():
        if line.startswith("    ") and marked and not marked[-1] and not above.startswith(" "):
            marked += ["::", ""]
        marked.append(line)
        above = line or above
    lines[:] = marked


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("autodoc-process-docstring", _as_restructured_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
