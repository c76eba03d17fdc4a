"""The console script, and `python -m collapipe_ns3`: the command line, with Ctrl-C at any time."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line; exits with 130 where it was interrupted."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal may know no arrows

        from collapipe_ns3.cli import app  # takes a second, in which one may press Ctrl-C

        app()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
