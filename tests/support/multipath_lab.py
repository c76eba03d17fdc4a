"""Fading over time and frequency by itself: many draws, at many positions and times at once."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ns3_scenarios import runtime
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.runtime.loader import interpreter

LIGHT_M_S = 299_792_458.0

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

_TRACE = """
#include "multipath-fading.h"
namespace multipath_lab {
std::vector<double> Taps(const collapipe::MultipathFading& fading,
                         const std::vector<double>& rows) {
  std::vector<double> found;
  std::vector<std::complex<float>> taps;
  for (std::size_t i = 0; i < rows.size(); i += 5) {
    const auto time = fading.Instant(static_cast<int64_t>(rows[i + 4] * 1e9));
    fading.Evaluate({rows[i], rows[i + 1], 0}, {rows[i + 2], rows[i + 3], 0}, time, taps);
    for (const auto& tap : taps) {
      found.push_back(tap.real());
      found.push_back(tap.imag());
    }
  }
  return found;
}
std::vector<double> Gains(const collapipe::MultipathFading& fading,
                          const std::vector<double>& rows, uint32_t blocks) {
  std::vector<double> found;
  std::vector<double> gains(blocks);
  std::vector<std::complex<float>> taps;
  for (std::size_t i = 0; i < rows.size(); i += 5) {
    const auto time = fading.Instant(static_cast<int64_t>(rows[i + 4] * 1e9));
    fading.Evaluate({rows[i], rows[i + 1], 0}, {rows[i + 2], rows[i + 3], 0}, time, taps);
    fading.Line().PowerGains(taps, 0, blocks, gains.data());
    found.insert(found.end(), gains.begin(), gains.end());
  }
  return found;
}
std::shared_ptr<collapipe::MultipathFading> Draw(const std::string& profile, double spread,
                                                 double centre, uint32_t blocks,
                                                 const std::string& name, uint64_t run,
                                                 double doppler) {
  const auto line = std::make_shared<collapipe::DelayLine>(
    collapipe::DelayProfile(profile, spread), centre, blocks);
  return std::make_shared<collapipe::MultipathFading>(line, name, run, doppler);
}
}
"""


@functools.cache
def _tracing() -> Any:
    runtime.native()
    interpreter().cppdef(_TRACE)
    return interpreter().gbl.multipath_lab


@dataclass(frozen=True)
class Multipath:
    """One kind of fading in a band, of which pairs can be drawn."""

    profile: str = "clarke"
    delay_spread_s: float = 0.0
    doppler_hz: float = 0.0
    centre_hz: float = LIGHT_M_S  # a wavelength of 1 m
    blocks: int = 1

    def draws(self, count: int) -> Iterator[Any]:
        """Independent pairs of nodes."""
        runtime.reset(1, 1)
        for n in range(count):
            yield self.draw(f"pair {n}")

    def draw(self, name: str, run: int = 1) -> Any:
        """The pair of nodes of this name."""
        return _tracing().Draw(
            *(self.profile, self.delay_spread_s, self.centre_hz, self.blocks),
            *(name, run, self.doppler_hz),
        )

    @property
    def block_hz(self) -> Floats:
        """The middles of the blocks, relative to the band's."""
        return (np.arange(self.blocks) + 0.5 - self.blocks / 2) * BLOCK_HZ


def taps(fading: Any, rows: Floats) -> Complexes:
    """Coefficients by row and tap; a row has x, y of both ends in metres and the time in s."""
    flat = np.array(_tracing().Taps(fading, rows.ravel().tolist()))
    pairs = flat.reshape(len(rows), -1, 2)
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])


def gains(fading: Any, rows: Floats, blocks: int) -> Floats:
    """Power gains by row and block."""
    flat = np.array(_tracing().Gains(fading, rows.ravel().tolist(), blocks))
    return flat.reshape(len(rows), blocks)


def rows(count: int, *, a: Any = (0.0, 0.0), b: Any = (0.0, 0.0), time_s: Any = 0.0) -> Floats:
    """Rows in which each value is a constant or an array over the rows."""
    columns = (*a, *b, time_s)
    return np.stack([np.broadcast_to(np.asarray(c, float), (count,)) for c in columns], axis=1)
