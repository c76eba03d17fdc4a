"""ns-3 from Python: loading, own C++, seeds and resets, checked attributes."""

from ns3_scenarios.runtime.attributes import (
    Attribute,
    attributes,
    checked_attributes,
    checked_default,
    known_type,
    make,
    set_default,
    set_trusted_default,
    trusted_text,
    type_names,
)
from ns3_scenarios.runtime.cache import CacheInfo, cache_info, clear_cache
from ns3_scenarios.runtime.errors import BadValue, SimulationError, UnknownName
from ns3_scenarios.runtime.installation import NotInstalled
from ns3_scenarios.runtime.last_words import last_words, reporting
from ns3_scenarios.runtime.loader import DEFAULT_MODULES, load
from ns3_scenarios.runtime.own_code import NativeBuildError, compiler, native
from ns3_scenarios.runtime.simulation import alone, rehearse, reset, simulation_errors

__all__ = [
    "DEFAULT_MODULES",
    "Attribute",
    "BadValue",
    "CacheInfo",
    "NativeBuildError",
    "NotInstalled",
    "SimulationError",
    "UnknownName",
    "alone",
    "attributes",
    "cache_info",
    "checked_attributes",
    "checked_default",
    "clear_cache",
    "compiler",
    "known_type",
    "last_words",
    "load",
    "make",
    "native",
    "rehearse",
    "reporting",
    "reset",
    "set_default",
    "set_trusted_default",
    "simulation_errors",
    "trusted_text",
    "type_names",
]
