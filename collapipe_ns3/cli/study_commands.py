"""The commands that read a study without running it: `show`, `validate`, `plan`, `schema`."""

from __future__ import annotations

import collapipe_ns3
from collapipe_ns3.cli.options import JsonOption, SchemeOption, SeedOption, SetOption, StudyArgument
from collapipe_ns3.cli.tables import print_table, print_text
from collapipe_ns3.cli.terminal import (
    err,
    failures,
    only_results_on_stdout,
    out,
    print_json,
    problems_json,
    warn,
)


def show(study: StudyArgument, sets: SetOption = None, as_json: JsonOption = False) -> None:
    """Show a study as resolved, with all defaults."""
    with failures(study, as_json):
        from rich.syntax import Syntax

        from collapipe_ns3.cli.study_view import nodes_table
        from collapipe_ns3.reading import study_file

        config = study_file.resolved(collapipe_ns3.Study.load(study, sets or ()).config)
        if as_json:
            print_json(config.model_dump(mode="json"))
        else:
            text = study_file.dump(config)
            if out.is_terminal:
                out.print(Syntax(text, "yaml", background_color="default", word_wrap=True))
            else:  # unformatted, so that it can be saved as a study file
                print(text, end="", file=out.file)
            print_table(err, nodes_table(config))


def validate(study: StudyArgument, sets: SetOption = None, as_json: JsonOption = False) -> None:
    """Find all errors of a study: in its keys, its first plan, and its network in ns-3."""
    with failures(study, as_json):
        loaded = collapipe_ns3.Study.load(study, sets or ())
        first, found = loaded.try_out()
        warnings = [*loaded.warnings, *found]
        warn(warnings)
        if as_json:
            facts = {
                "ok": True,
                "study": study,
                "problems": [],
                "warnings": problems_json(warnings),
            }
            print_json(facts)
        else:
            out.print(f"[green]ok[/]: {study} can be run; its first plan:\n")
            print_text(out, str(first))


def plan(
    study: StudyArgument,
    scheme: SchemeOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the links, plan one round, and show the plan and its predicted timeline."""
    with failures(study, as_json):
        from collapipe_ns3.cli.plan_view import print_preview

        loaded = collapipe_ns3.Study.load(study, sets or (), scheme=scheme).with_(seed=seed)
        shown = loaded.preview()
        warnings = [*loaded.warnings, *shown.warnings]
        warn(warnings)
        if as_json:
            print_json({**shown.to_json(), "warnings": problems_json(warnings)})
        else:
            print_preview(out, shown)


def schema() -> None:
    """Print the JSON schema of study files, with the settings of the installed tasks."""
    from collapipe_ns3.reading.study_schema import study_schema

    with only_results_on_stdout():  # importing the tasks' modules may print
        found = study_schema()
    print_json(found)
