"""The commands that list studies, device profiles, schemes and tasks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from collapipe_ns3.cli import listings_view
from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.terminal import only_results_on_stdout, out, print_json

if TYPE_CHECKING:
    from collapipe_ns3.learning.installed import InstalledTask


def studies(as_json: JsonOption = False) -> None:
    """List the bundled studies."""
    from collapipe_ns3.reading import study_file

    configs = study_file.catalogue()
    if as_json:
        complete = {name: study_file.with_task_defaults(each) for name, each in configs.items()}
        print_json({name: config.model_dump(mode="json") for name, config in complete.items()})
    else:
        listings_view.print_studies(out, configs)


def profiles(as_json: JsonOption = False) -> None:
    """List the device profiles with their figures and sources."""
    from collapipe_ns3.costs import devices

    known = devices.profiles()
    if as_json:
        print_json({name: dataclasses.asdict(each) for name, each in known.items()})
    else:
        listings_view.print_profiles(out, known.values())


def schemes(as_json: JsonOption = False) -> None:
    """List the installed schemes: their settings, with types and defaults."""
    from collapipe_ns3.schemes.installed import installed_schemes

    with only_results_on_stdout():  # importing their modules may print
        known = list(installed_schemes())
    if as_json:
        print_json({each.name: dataclasses.asdict(each) for each in known})
    else:
        listings_view.print_schemes(out, known)


def tasks(as_json: JsonOption = False) -> None:
    """List the installed learning tasks with their settings, and the models that they take."""
    from collapipe_ns3.learning.installed import installed_tasks
    from collapipe_ns3.learning.models import MODELS

    with only_results_on_stdout():  # importing their modules may print
        known = list(installed_tasks())
    if as_json:
        listed = {each.plugin.name: _task_json(each) for each in known}
        models = {name: dataclasses.asdict(entry) for name, entry in MODELS.items()}
        print_json({"tasks": listed, "models": models})
    else:
        listings_view.print_tasks(out, known)
        listings_view.print_models(out, MODELS)


def _task_json(task: InstalledTask) -> dict[str, Any]:
    metric = task.metric and dataclasses.asdict(task.metric)
    return {**dataclasses.asdict(task.plugin), "models": list(task.models), "metric": metric}
