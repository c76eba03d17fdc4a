"""Runs as event files of TensorBoard: scalars of each round, and the study as text.

The step of an event is the number of its round, and its wall time is simulated time: the end of the
round, in seconds since the run began. An event file depends only on the tables of its run, and that
of the first rounds is a beginning of that of all. So it can be completed after each round and after
a stop, and no event is written twice.

Needs the extra `tensorboard`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.places import CELLS
from analysis.round_timeline import PHASES
from analysis.run import Run
from run_directory.files import append, make_folder, replace
from run_directory.whole import STUDY, rounds_done, table_file

__all__ = ["LiveEvents", "folder_of", "write_events"]

#: TensorBoard reads files with `tfevents` in their names.
EVENT_FILE = "events.out.tfevents.0.collapipe-ns3"

#: The tag of each column of the table `rounds`; phases and the task's metrics have theirs by rule.
_TAGS = {
    "duration_s": "round/duration_s",
    "computation_s": "round/computation_s",
    "overlap_s": "round/overlap_s",
    "waited_s": "round/waited_s",
    "failed_pipelines": "round/failed_pipelines",
    "loss": "training/loss",
    "divergence": "training/divergence",
    "energy_j": "energy/all_nodes_j",
    "device_energy_j": "energy/devices_j",
    "compute_energy_j": "energy/computing_j",
    "tx_energy_j": "energy/sending_j",
    "rx_energy_j": "energy/receiving_j",
    "idle_energy_j": "energy/idle_j",
    "peak_device_memory_bytes": "memory/peak_device_bytes",
}
_TEST = "test_"


class LiveEvents:
    """The event file of a run that is being written.

    `directory` is the directory of the run, and `folder` that of its event file.
    """

    def __init__(self, directory: Path, folder: Path) -> None:
        self.directory = directory
        self.folder = folder
        self._content = b""
        self._rounds = 0

    def update(self) -> None:
        """Adds the rounds that were finished since the last call; raises `OSError`.

        May be called at any time, and by a process that did not write the run.
        """
        done = rounds_done(self.directory)
        if not done:
            return
        if not self._content:
            self._content = _beginning((self.directory / STUDY).read_text("utf-8"))
        for number in range(self._rounds, done):
            self._content += _of_round(self.directory / table_file("rounds", number))
        self._rounds = done
        _write(self.folder, self._content)


def write_events(run: Run, folder: Path) -> None:
    """Writes the event file of a run that exists; raises `OSError`, and `NotWhole` for damage."""
    try:
        rounds = [_of_round(file) for file in run.whole.table("rounds")]
    except (pa.ArrowException, OSError):
        run.check_files(["rounds"], pq.read_table)
        raise
    _write(folder, b"".join([_beginning(run.whole.study), *rounds]))


def folder_of(directory: Path) -> Path:
    """The folder of a run's event file, in the folder of all: named as the run's directory.

    A run of a campaign has its folder in one with the campaign's name.
    """
    place = directory.resolve()
    if place.parent.name == CELLS:
        return Path(place.parent.parent.name, place.name)
    return Path(place.name)


def _write(folder: Path, content: bytes) -> None:
    """Completes the event file, or replaces one that does not begin like this content.

    A TensorBoard that displays it reads on where it has stopped, so what is there must stay.
    """
    make_folder(folder)
    file = folder / EVENT_FILE
    present = file.read_bytes() if file.exists() else b""
    if content.startswith(present):
        append(file, len(present), content[len(present) :])
    else:
        replace(file, content)


def _beginning(study: str) -> bytes:
    """The events before the first round: the version of the format, and the study as text."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.text.summary_v2 import text_pb

    version = Event(wall_time=0.0, file_version="brain.Event:2")
    text = text_pb("study", f"```yaml\n{study}```\n")
    return _records(version, Event(wall_time=0.0, step=0, summary=text))


def _of_round(file: Path) -> bytes:
    """The event of a round, from its file of the table `rounds`."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    with file.open("rb") as opened:  # of a path, pyarrow would take folders for columns
        [row] = pq.read_table(opened).to_pylist()
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(row)]
    event = Event(wall_time=row["end_s"], step=row["round"], summary=Summary(value=values))
    return _records(event)


def _scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The tag and value of each scalar.

    A value that is not a number is kept where it says that training diverged, in the loss and the
    task's metrics; elsewhere it was not measured.
    """
    tags = {**{f"{phase}_s": f"phases/{phase}_s" for phase in PHASES}, **_TAGS}
    metrics = [key for key in row if key.startswith(_TEST)]
    tags |= {key: f"test/{key.removeprefix(_TEST)}" for key in metrics}
    if not metrics:  # in runs of earlier versions
        tags["metric"] = "test/metric"
    for key, tag in tags.items():
        value = row.get(key)
        if value is not None and (key in ("loss", *metrics) or math.isfinite(value)):
            yield tag, float(value)


def _records(*events: Any) -> bytes:
    """Events as an event file has them, each with its length and checksums."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    return file.getvalue()
