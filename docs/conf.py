"""The settings of the documentation site, which `make docs` builds."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "collapipe-ns3"
author = "the collapipe-ns3 project"
project_copyright = f"{author}, GPL-2.0-only"
version = release = version_of(project)

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "docstrings",
    "generated_pages",
]
source_suffix = {".md": "markdown"}
exclude_patterns: list[str] = []
nitpicky = True
# Types in signatures are mostly those of libraries, which have no page here.
nitpick_ignore_regex = [("py:(class|obj)", ".*")]

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "colon_fence"]

highlight_language = "none"  # of blocks that name no language
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "collapipe-ns3"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = "$ "

linkcheck_timeout = 20
