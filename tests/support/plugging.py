"""Schemes as another package would bring them: a module and its entry points in a folder."""

from __future__ import annotations

from pathlib import Path

#: A scheme that changes nothing of PipeLine; tests replace its calls one by one.
PLAIN = """
import sys
from dataclasses import replace
from collapipe_ns3.schemes.pipeline import PipeLine

class Mine(PipeLine):
    pass
"""


def install(folder: Path, code: str, name: str = "mine") -> Path:
    """Writes the distribution into the folder, which is to be put on the path; its module.

    `code` are methods of a subclass of PipeLine called `Mine`, indented by four spaces.
    """
    module = f"plugged_{name}_{folder.name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(PLAIN.replace("    pass\n", code or "    pass\n"))
    described = folder / f"{module}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    points = f"[collapipe_ns3.schemes]\n{name} = {module}:Mine\n"
    (described / "entry_points.txt").write_text(points)
    return folder / f"{module}.py"
