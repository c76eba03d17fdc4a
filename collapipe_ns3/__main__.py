"""The console script, and `python -m collapipe_ns3`: the command line, with Ctrl-C at any time."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import NoReturn

from collapipe_ns3.cli import stdout


def main() -> NoReturn:
    """Runs the command line; exits with 130 where it was interrupted."""
    try:
        stdout.keep_for_results()
        if isinstance(sys.stderr, TextIOWrapper):
            sys.stderr.reconfigure(errors="replace")  # a terminal may know no arrows

        from collapipe_ns3.cli.app import app  # takes a second, in which one may press Ctrl-C

        try:
            app()
        finally:
            sys.stdout.flush()
            sys.stdout = sys.stderr  # for what plug-ins have done at the exit
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except stdout.StdoutFailed as error:
        print(f"standard output can't be written: {error}", file=sys.stderr)
        stdout.discard()
        sys.exit(1)
    except BrokenPipeError:  # whoever read the results has seen enough
        stdout.discard()
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
