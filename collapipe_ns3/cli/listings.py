"""The commands that list studies, device profiles and schemes."""

from __future__ import annotations

import dataclasses

from collapipe_ns3.cli import listings_view
from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.terminal import only_results_on_stdout, out, print_json


def studies(as_json: JsonOption = False) -> None:
    """List the bundled studies."""
    from collapipe_ns3.reading import study_file

    configs = study_file.catalogue()
    if as_json:
        print_json({name: config.model_dump(mode="json") for name, config in configs.items()})
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
