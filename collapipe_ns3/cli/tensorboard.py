"""The command `tensorboard`, and the option `--tensorboard` of the commands that run studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from collapipe_ns3.cli.options import JsonOption
from collapipe_ns3.cli.reading_runs import RunsArgument, load_runs, refusals
from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.terminal import err, out, print_json

TensorBoardOption = Annotated[
    Path | None,
    typer.Option("--tensorboard", metavar="DIR", help="Write scalars for TensorBoard, live."),
]


def tensorboard(
    directories: RunsArgument,
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where each run gets a folder.")
    ] = Path("tensorboard"),
    as_json: JsonOption = False,
) -> None:
    """Write the scalars of runs that exist for TensorBoard."""
    with refusals("nothing can be written for TensorBoard", as_json):
        expect_tensorboard("", "")
        from analysis.tensorboard_events import folder_of, write_events
        from collapipe_ns3.problems import Problem, StudyError

        runs = load_runs(directories)
        folders = [out_dir / folder_of(run.directory) for run in runs.runs]
        _expect_different(folders)
        try:
            for run, folder in zip(runs.runs, folders, strict=True):
                write_events(run, folder)
        except OSError as error:
            problem = Problem("--out", f"{out_dir}: {error.strerror or error}")
            raise StudyError("", [problem]) from None
        if as_json:
            print_json({"ok": True, "directory": str(out_dir), "folders": list(map(str, folders))})
        else:
            count = f"{len(folders)} run{'s' * (len(folders) > 1)}"
            print_text(out, f"{count} written; {how_to_look(out_dir)}")


def how_to_look(folder: Path) -> str:
    return f"look with: tensorboard --logdir {folder}"


def expect_tensorboard(study: str, option: str) -> None:
    """Raises `StudyError` where the extra `tensorboard` is not installed."""
    from collapipe_ns3.problems import Problem, StudyError

    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError:
        what = "needs the extra: pip install 'collapipe-ns3[tensorboard]'"
        raise StudyError(study, [Problem(option, what)]) from None


class EventFiles:
    """The event files of runs that are being executed, by the runs' directories.

    What can't be written, as on a full disk, is reported once and stops no run.
    """

    def __init__(self, study: str, folder: Path, directories: Sequence[Path]) -> None:
        """Raises `StudyError` where the folder can't be made."""
        from analysis.tensorboard_events import LiveEvents, folder_of
        from collapipe_ns3.problems import Problem, StudyError
        from run_directory.files import make_folder

        self.folder = folder
        self._reported = False
        self._events = {each: LiveEvents(each, folder / folder_of(each)) for each in directories}
        try:
            make_folder(folder)
        except OSError as error:
            is_file = isinstance(error, FileExistsError)
            reason = "is no directory" if is_file else error.strerror or str(error)
            what = f"{folder}: {reason}"
            raise StudyError(study, [Problem("--tensorboard", what)]) from None

    def update(self, directory: Path) -> None:
        """Adds the rounds of this run that are not in its event file yet."""
        try:
            self._events[directory].update()
        except OSError as error:
            if not self._reported:
                what = f": --tensorboard: {self.folder}: {error.strerror or error}"
                hint = "; the run goes on, and `collapipe-ns3 tensorboard` can write it later"
                print_text(err, Text.assemble(("warning", "yellow"), what, hint))
            self._reported = True

    def update_all(self) -> None:
        for directory in self._events:
            self.update(directory)


def _expect_different(folders: Sequence[Path]) -> None:
    """Raises `StudyError` where two runs would have the same folder."""
    from collapipe_ns3.problems import Problem, StudyError

    same = [str(folder) for folder, count in Counter(folders).items() if count > 1]
    if same:
        what = f"several runs would be written to {', '.join(same)}; give each its own --out"
        raise StudyError("", [Problem("--out", what)])
