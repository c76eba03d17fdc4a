"""Whether the packages that come with this one are found, or files of the same name instead.

Python looks for a module beside the script first, or in the working directory. An `analysis.py`
there would be imported in place of this project's `analysis`, and fail in ways that name neither.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

#: The top-level packages of this project beside `collapipe_ns3`.
NEIGHBOURS = ("analysis", "bridge", "ns3_scenarios", "run_directory")


def check() -> None:
    """Raises `ImportError` where a file or folder hides a neighbour, naming both."""
    home = Path(__file__).parent.parent
    for name in NEIGHBOURS:
        own = home / name / "__init__.py"
        found = _found(name)
        if found and own.exists() and Path(found).resolve() != own.resolve():
            raise ImportError(
                f"{found} hides the package {name} of collapipe-ns3: rename it, or move it out of "
                "the folder of the script that runs, of the working directory and of PYTHONPATH",
                name=name,
                path=found,
            )


def _found(name: str) -> str | None:
    """The file, or the folder of a package without `__init__.py`, that such an import finds."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module without a file
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)
