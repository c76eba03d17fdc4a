"""The columns of the tables of a run."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

#: A text of which there are few different ones; a category in pandas.
WORD = pa.dictionary(pa.int32(), pa.string())

#: The parts of a node's energy.
ENERGIES = ("compute_energy_j", "tx_energy_j", "rx_energy_j", "idle_energy_j")

#: A node's coordinates at the start and at the end of a round.
PLACES = ("x_m", "y_m", "z_m", "end_x_m", "end_y_m", "end_z_m")

#: The phases of a round, each with a column for its duration.
PHASES = ("broadcast", "pipeline", "gather", "upload", "aggregate", "sounding")

_RUN = [("scheme", WORD), ("seed", pa.int64()), ("round", pa.int64())]

#: The columns of each table. Seconds are simulated time since the run began, or durations of it,
#: except in columns with `wall` in their names. Only the `wall` columns differ between runs of the
#: same study, seed and code (`run_directory.tables.repeatable`).
SCHEMAS: Mapping[str, pa.Schema] = {
    name: pa.schema([*_RUN, *columns])
    for name, columns in {
        "computes": [
            *[(key, WORD) for key in ("node", "action")],
            *[(key, pa.int64()) for key in ("cluster", "stage", "micro_batch")],
            *[(key, pa.float64()) for key in ("start_s", "end_s", "flops", "wall_s")],
            *[(key, pa.int64()) for key in ("pipeline", "step")],
            ("outcome", WORD),
        ],
        "transfers": [
            *[(key, WORD) for key in ("kind", "src", "dst", "radio", "outcome")],
            *[(key, pa.int64()) for key in ("bytes", "lost_bytes", "retransmissions")],
            ("extrapolated_bytes", pa.int64()),
            *[(key, pa.float64()) for key in ("start_s", "end_s", "sinr_db", "tx_power_dbm")],
            *[(key, pa.float64()) for key in ("bandwidth_hz", "airtime_s", "energy_j")],
            *[(key, pa.int64()) for key in ("cluster", "pipeline", "stage", "micro_batch", "step")],
            ("group", pa.int64()),
        ],
        "links": [
            *[(key, WORD) for key in ("src", "dst")],
            *[(key, pa.float64()) for key in ("gain_db", "interference_dbm_hz", "sinr_db")],
            *[(key, pa.float64()) for key in ("goodput_bps", "loss", "age_s", "tx_power_dbm")],
        ],
        "pipelines": [
            *[(key, pa.int64()) for key in ("cluster", "pipeline", "micro_batches")],
            *[(key, WORD) for key in ("devices", "schedule", "fate")],
            *[(key, pa.float64()) for key in ("weight", "loss", "end_s")],
            *[("reason", pa.string()), ("lost", pa.string())],
            *[("repeated_steps", pa.int64()), ("stages", pa.string())],
            ("age", pa.int64()),
        ],
        "devices": [
            ("device", WORD),
            *[(key, pa.int64()) for key in ("cluster", "blocks", "peak_memory_bytes")],
            *[(key, pa.float64()) for key in ENERGIES],
            ("radio_energy_j", pa.float64()),  # of sending and receiving together
            *[("energy_queue", pa.float64()), ("sits_out", pa.string())],
            *[("away_s", pa.float64()), ("temperature_c", pa.float64()), ("throttled", pa.bool_())],
            *[("charge_j", pa.float64()), ("empty", pa.bool_())],
        ],
        "rounds": [
            *[(key, pa.float64()) for key in ("start_s", "end_s", "duration_s")],
            *[(f"{phase}_s", pa.float64()) for phase in PHASES],
            *[(key, pa.float64()) for key in ("computation_s", "planning_wall_s")],
            *[(key, pa.float64()) for key in ("loss", "metric", "energy_j", "device_energy_j")],
            *[(key, pa.float64()) for key in ENERGIES],
            ("divergence", pa.float64()),
            *[("peak_device_memory_bytes", pa.int64()), ("failed_pipelines", pa.int64())],
            *[("abandoned", pa.string()), ("overlap_s", pa.float64())],
            ("waited_s", pa.float64()),
        ],
        "encodings": [
            *[(key, pa.int64()) for key in ("cluster", "pipeline")],
            *[(key, WORD) for key in ("direction", "unit", "format")],
            *[("whole", pa.bool_()), ("bytes", pa.int64())],
            *[(key, pa.float64()) for key in ("distortion", "norm_sq")],
            ("dropped_error", pa.bool_()),
        ],
        "nodes": [
            *[(key, WORD) for key in ("node", "role")],
            ("cluster", pa.int64()),
            ("profile", WORD),
            *[(key, pa.float64()) for key in PLACES],
            ("station", WORD),
            *[(key, pa.float64()) for key in ("memory_limit_bytes", "energy_budget_j")],
            ("end_station", WORD),
        ],
        "handovers": [
            ("node", WORD),
            ("cluster", pa.int64()),
            ("at_s", pa.float64()),
            *[(key, WORD) for key in ("from_station", "to_station")],
            ("interruption_s", pa.float64()),
        ],
    }.items()
}
