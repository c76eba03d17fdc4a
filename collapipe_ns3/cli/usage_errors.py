"""Usage errors under `--json`: unknown commands or options, missing arguments, malformed values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from collapipe_ns3.cli.terminal import print_json

#: The base class of all errors that Typer reports with the command's usage and exit code 2. Typer
#: exports only this subclass of it.
_UsageError: Any = typer.BadParameter.__mro__[1]

_AS_JSON = "collapipe_ns3.as_json"


class JsonErrorGroup(TyperGroup):
    """The group of commands; with `--json`, a usage error is printed as JSON on stdout too.

    The object has `ok` (false) and `error` (the message), as for other errors. Typer then prints
    the usage on stderr, and exits with code 2.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        as_json = _has_json_option(args)
        with _printed_as_json(as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_AS_JSON] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        with _printed_as_json(ctx.meta[_AS_JSON]):
            return super().invoke(ctx)


def _has_json_option(args: Sequence[str]) -> bool:
    """Whether `--json` is among the options, which end at `--`."""
    options = args[: args.index("--")] if "--" in args else args
    return "--json" in options


@contextlib.contextmanager
def _printed_as_json(as_json: bool) -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        if as_json:
            print_json({"ok": False, "error": error.format_message()})
        raise
