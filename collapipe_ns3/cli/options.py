"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="A bundled study's name, or a YAML file.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Overrides a key of the study; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
SchemeOption = Annotated[str | None, typer.Option(metavar="S", help="Plan with this scheme.")]
SeedOption = Annotated[int | None, typer.Option(metavar="K", help="The seed of all randomness.")]
