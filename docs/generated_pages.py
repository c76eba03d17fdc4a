"""A Sphinx extension for pages that are generated when the site is built.

A line `<!-- generated: NAME ARGUMENT… -->` of a page is replaced by the Markdown that the function
with that name in `GENERATORS` returns, so that what the code says is written down once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from notebook_pages import notebook
from reference_columns import columns, derived_columns
from reference_command_line import command_line
from reference_figures import figures
from reference_study_keys import study_keys
from sphinx.application import Sphinx

GENERATORS: Mapping[str, Callable[..., str]] = {
    "columns": columns,
    "command-line": command_line,
    "derived-columns": derived_columns,
    "figures": figures,
    "notebook": notebook,
    "study-keys": study_keys,
}

_MARK = re.compile(r"^<!-- generated: (\S+)((?: \S+)*) -->$", re.M)


def _generated(mark: re.Match[str]) -> str:
    return GENERATORS[mark[1]](*mark[2].split())


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _MARK.sub(_generated, source[0])


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
