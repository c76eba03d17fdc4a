"""`python -m benchmarks`: runs all benchmarks, prints a table, and writes `latest.json`.

Arguments select benchmarks: `python -m benchmarks startup engine`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

LATEST = Path(__file__).parent / "latest.json"


@dataclass(frozen=True, slots=True)
class Aim:
    """The value that a benchmark should reach."""

    bound: Literal["≥", "≤"]
    value: float

    def met(self, measured: float) -> bool:
        return measured >= self.value if self.bound == "≥" else measured <= self.value

    def __str__(self) -> str:
        return f"{self.bound} {self.value:g}"


#: Modules with a `measure()`; `overlap` comes early, before other benchmarks heat the processor.
BENCHMARKS = (
    "startup",
    "commands",
    "overlap",
    "loop_roundtrip",
    "engine",
    "network_rate",
    "ofdma",
    "fading",
    "planning",
    "sampled",
    "loading",
)

AIMS = {
    "startup_ratio": Aim("≥", 10),
    "command_help_s": Aim("≤", 0.3),
    "command_studies_s": Aim("≤", 0.3),
    "command_schema_s": Aim("≤", 0.3),
    "command_validate_s": Aim("≤", 2),
    "overlap_ratio": Aim("≤", 1.10),
    "wifi_rate_ratio": Aim("≥", 0.95),
    "lte_rate_ratio": Aim("≥", 0.95),
    "loop_roundtrip_us": Aim("≤", 6),
    "engine_transformer_ratio": Aim("≥", 0.9),
    "engine_encoder_ratio": Aim("≥", 0.9),
    "engine_bert_ratio": Aim("≥", 0.9),
    "engine_bert_base_ratio": Aim("≥", 0.9),
    "ofdma_vs_lte_ratio": Aim("≥", 10),
    "ofdma_direct_vs_lte_ratio": Aim("≥", 50),
    "plan_1000_devices_s": Aim("≤", 1),
    "plan_quickstart_ms": Aim("≤", 20),
    "sampled_speedup": Aim("≥", 10),
    "sampled_round_error": Aim("≤", 0.03),
    "loading_peak_mb": Aim("≤", 2000),
}


def main(names: Sequence[str]) -> int:
    """Runs these benchmarks, or all; the values of others in latest.json are kept."""
    if unknown := set(names) - set(BENCHMARKS):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
        return 2
    figures: dict[str, float] = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    console = Console()
    table = Table("key", "measured", "aim", "")
    for name in names or BENCHMARKS:
        with console.status(f"{name} …"):
            measured = importlib.import_module(f"benchmarks.{name}").measure()
        figures |= measured
        for key, value in measured.items():
            aim = AIMS.get(key)
            verdict = "" if aim is None else "met" if aim.met(value) else "missed"
            table.add_row(key, f"{value:.4g}", str(aim or ""), verdict)
    console.print(table)
    part = LATEST.with_suffix(".part")
    part.write_text(json.dumps(figures, indent=2) + "\n")
    part.replace(LATEST)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
