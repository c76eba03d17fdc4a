"""Checks that no other file shadows a package of this project.

Python looks for a module first in the folder of the script that runs, or in the working directory.
An `analysis.py` there would be imported instead of this project's `analysis`, and the error would
name neither.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

#: The top-level packages of this project other than `collapipe_ns3`.
PACKAGES = ("analysis", "bridge", "ns3_scenarios", "run_directory")


def check() -> None:
    """Raises `ImportError` where a file or folder shadows a package; the message names both."""
    home = Path(__file__).parent.parent
    for name in PACKAGES:
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
    """The file that importing this name would load, or the folder of a namespace package."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module without a file
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)
