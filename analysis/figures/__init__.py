"""Figures of runs: functions from tables to matplotlib figures, and the table of all of them.

    from analysis import figures, load

    figures.FIGURES["phases"].draw(load("runs/one", "runs/other")).savefig("phases.pdf")

Each function takes `Runs`, of which it reads the tables and columns that it needs, and keyword
options of its own. The command `collapipe-ns3 figure` and the report draw the same figures.
"""

from analysis.figures.registry import FIGURES, CannotDraw, FigureKind, draw

__all__ = ["FIGURES", "CannotDraw", "FigureKind", "draw"]
