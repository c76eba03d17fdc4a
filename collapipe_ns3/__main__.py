"""The entry point of the command line: the console script, and `python -m collapipe_ns3`."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import NoReturn

from collapipe_ns3.cli import stdout


def main() -> NoReturn:
    """Runs the command line; Ctrl-C at any time ends it with exit code 130."""
    try:
        stdout.keep_for_results()
        if isinstance(sys.stderr, TextIOWrapper):
            sys.stderr.reconfigure(errors="replace")  # a terminal may lack arrows

        from collapipe_ns3.cli.app import app  # takes a second, in which Ctrl-C may be pressed

        try:
            app()
        finally:
            sys.stdout.flush()
            sys.stdout = sys.stderr  # for prints of plug-ins at exit
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except stdout.StdoutFailed as error:
        print(f"standard output can't be written: {error}", file=sys.stderr)
        stdout.discard()
        sys.exit(1)
    except BrokenPipeError:  # the reader of the results closed the pipe
        stdout.discard()
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
