"""The commands that list what there is: studies, device profiles, schemes."""

from __future__ import annotations

import dataclasses

from collapipe_ns3.cli import catalogue_view
from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.terminal import out, print_json, stdout_alone


def studies(as_json: JsonOption = False) -> None:
    """List the bundled studies."""
    from collapipe_ns3.reading import study_file

    configs = study_file.catalogue()
    if as_json:
        print_json({name: config.model_dump(mode="json") for name, config in configs.items()})
    else:
        catalogue_view.print_studies(out, configs)


def profiles(as_json: JsonOption = False) -> None:
    """List the device profiles: their figures, and where these come from."""
    from collapipe_ns3.costs import devices

    known = devices.profiles()
    if as_json:
        print_json({name: dataclasses.asdict(each) for name, each in known.items()})
    else:
        catalogue_view.print_profiles(out, known.values())


def schemes(as_json: JsonOption = False) -> None:
    """List the installed schemes: their settings, with types and defaults."""
    from collapipe_ns3.schemes.catalogue import catalogue

    with stdout_alone():  # their modules are imported, and may print
        known = list(catalogue())
    if as_json:
        print_json({each.name: dataclasses.asdict(each) for each in known})
    else:
        catalogue_view.print_schemes(out, known)
