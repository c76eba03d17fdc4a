"""ns-3 from Python: loading, own C++, seeds and resets, checked attributes."""

from ns3_scenarios.runtime.cache import CacheInfo, cache_info, clear_cache
from ns3_scenarios.runtime.errors import BadValue, SimulationError, UnknownName
from ns3_scenarios.runtime.loader import DEFAULT_MODULES, load
from ns3_scenarios.runtime.own_code import NativeBuildError, native
from ns3_scenarios.runtime.simulation import reset

__all__ = [
    "DEFAULT_MODULES",
    "BadValue",
    "CacheInfo",
    "NativeBuildError",
    "SimulationError",
    "UnknownName",
    "cache_info",
    "clear_cache",
    "load",
    "native",
    "reset",
]
