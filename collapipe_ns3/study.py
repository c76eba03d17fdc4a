"""Studies from Python: load one, run it, and read its tables.

from collapipe_ns3 import Study

result = Study.load("quickstart").run(seed=1)
result.rounds  # a pandas DataFrame
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.paths import NOT_UTF8, is_utf8
from collapipe_ns3.plan import PlanError, RoundPlan
from collapipe_ns3.problems import Problem, StudyError, of_run_directory
from collapipe_ns3.reading import study_file
from collapipe_ns3.reading.footprint import lacking_here
from collapipe_ns3.reading.origins import Origins
from collapipe_ns3.reading.overrides import Overrides
from collapipe_ns3.reading.warnings import warnings_of
from collapipe_ns3.run import code_identity
from collapipe_ns3.run.manifest import (
    code_changes,
    manifest,
    resumed_manifest,
    task_facts,
    task_files,
)
from collapipe_ns3.run.media_rows import media_rows
from collapipe_ns3.run.outside_loops import outside_any_loop
from collapipe_ns3.schemes import SchemeFailed
from ns3_scenarios import runtime
from ns3_scenarios.runtime import SimulationError
from ns3_scenarios.traces import TraceFiles, TraceKind
from run_directory.whole import (
    CHECKPOINT,
    DIGESTS,
    MANIFEST,
    MEDIA,
    STUDY,
    TASK_FOLDER,
    NotARun,
    NotWhole,
    WholeRun,
    examine,
    is_begun,
    rounds_done,
)
from run_directory.writing import LOCK, RunDirectory

# torch, pandas and pyarrow take seconds to import, and reading a study needs none of them: methods
# that do import the modules that use them.
if TYPE_CHECKING:
    from collapipe_ns3.result import Result
    from collapipe_ns3.run.preview import Preview
    from collapipe_ns3.run.runner import Progress, Run

RUNS = Path("runs")

#: A run ends with an error after this wall time (s) of planning, or of simulation without progress.
WATCHDOG_S = 3600.0


@dataclass(frozen=True)
class Study:
    """A checked study.

    `settings` has the settings of schemes that the study had before, by scheme, and `origins` the
    file, lines and options that its keys come from.
    """

    config: StudyConfig
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)
    origins: Origins = field(default=Origins(), compare=False, repr=False)

    @classmethod
    def load(
        cls,
        study: str | Path,
        sets: Sequence[str] = (),
        *,
        scheme: str | None = None,
        **keys: Any,
    ) -> Study:
        """A bundled study by name, or one from a YAML file, changed by `sets` (`a.b=value`).

        With another `scheme`, `sets` may change the settings of that scheme. `keys` are as in
        `with_`: `Study.load("quickstart", training__local_steps=3)`. Raises `StudyError` with all
        problems.
        """
        loaded = study_file.load(str(study), sets, scheme)
        written = (
            study_file.written_scheme(str(study)) if scheme is not None else loaded.config.scheme
        )
        made = cls(loaded.config, {written.name: written.settings}, loaded.origins)
        return made.with_(**keys) if keys else made

    @classmethod
    def from_yaml(cls, text: str, called: str = "given as text") -> Self:
        """A study from YAML text, which error messages name `called`; raises `StudyError`."""
        loaded = study_file.load_text(called, text)
        return cls(loaded.config, origins=loaded.origins)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The warnings about this study, each with its place; the study can be run nevertheless."""
        return tuple(self.origins.located(warnings_of(self.config)))

    def to_yaml(self) -> str:
        """The whole study with all defaults as YAML; `from_yaml` reads it back unchanged."""
        return study_file.dump(self.config)

    def with_(
        self,
        *,
        scheme: str | None = None,
        seed: int | None = None,
        rounds: int | None = None,
        set: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Study:
        """The same study with another scheme, seed, number of rounds, or other values of any keys.

        `set` has values by path, `{"training.local_steps": 3, "clusters[0].size": 100}`; in `keys`
        two underscores stand for a dot, `training__local_steps=3`. Another scheme gets the settings
        that the study had for it before, else its defaults; paths may name these settings. Raises
        `StudyError` with all problems.
        """
        now = self.config.scheme
        known = {**self.settings, now.name: now.settings}
        data = self.config.model_dump(mode="json")
        if scheme is not None and scheme != now.name:
            data["scheme"] = {"name": scheme, "settings": known.get(scheme, {})}
        overrides = Overrides(data)
        given = {key: v for key, v in {"seed": seed, "rounds": rounds}.items() if v is not None}
        given |= {key.replace("__", "."): value for key, value in keys.items()} | dict(set or {})
        for path, value in given.items():
            overrides.put_value(path, value)
        config, found = study_file.check(data)
        if config is None or found or overrides.problems:
            located = self.origins.overridden(overrides).located(found)
            raise StudyError(self.config.name, [*overrides.problems, *located])
        return Study(config, known, self.origins.overridden(overrides))

    def plan(self) -> RoundPlan:
        """The first round's plan, whose network was built too; raises `StudyError`."""
        return self.try_out()[0]

    def try_out(self) -> tuple[RoundPlan, list[Problem]]:
        """The plan as from `plan`, and the scheme's warnings about the study."""
        from collapipe_ns3.run.planning import Planning

        with self._planning_errors():
            plan, warnings = outside_any_loop(
                lambda go_on: Planning(self.config, WATCHDOG_S).first()
            )
            self._expect_memory(plan)
        return plan, self.origins.located(warnings)

    def preview(self) -> Preview:
        """The first round's measured links, its plan and predicted timeline.

        Raises `StudyError` where no round can be planned, `PluginFailed` where the user's code
        fails.
        """
        from collapipe_ns3.run.planning import Planning
        from collapipe_ns3.run.preview import preview

        with self._planning_errors():
            return outside_any_loop(lambda go_on: preview(Planning(self.config, WATCHDOG_S)))

    def prepare(self, *, device: str = "cpu", watchdog_s: float | None = WATCHDOG_S) -> Run:
        """A run before its first round, which was planned and whose network was built as in `plan`.

        `device` is the torch device of all tensors. Raises the errors of `preview`, and
        `EndlessWait` where planning does not end.
        """
        from collapipe_ns3.run import runner

        with self._planning_errors():
            try:
                run = runner.Run(self.config, runner.torch_device(device), watchdog_s)
            except runner.NoDevice as error:
                raise StudyError(self.config.name, [Problem("--device", str(error))]) from None
            self._expect_memory(run.try_out()[0])
        return run

    def _expect_memory(self, plan: RoundPlan | None = None) -> None:
        """Raises `StudyError` where this machine lacks the memory that the study needs."""
        if lacking := lacking_here(self.config, plan):
            raise self._error([lacking])

    @contextlib.contextmanager
    def _planning_errors(self) -> Iterator[None]:
        """Turns errors of planning and building the first round into problems of the study."""
        self._expect_memory()
        try:
            yield
        except BadTask as error:
            raise self._error([Problem(error.key, str(error))]) from None
        except PlanError as error:
            problems = [Problem("scheme", f"{where}: {what}") for where, what in error.problems]
            raise self._error(problems) from None
        except SimulationError as error:
            raise self._error([Problem("", str(error))]) from None

    def _error(self, problems: Sequence[Problem]) -> StudyError:
        return StudyError(self.config.name, self.origins.located(problems))

    def run(
        self,
        *,
        scheme: str | None = None,
        seed: int | None = None,
        rounds: int | None = None,
        out: str | Path | None = None,
        resume: bool = False,
        other_code: bool = False,
        device: str = "cpu",
        watchdog_s: float | None = WATCHDOG_S,
        progress: bool = False,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_round: Callable[[], None] = lambda: None,
        wait: bool = False,
        traces: Collection[TraceKind] = (),
    ) -> Result:
        """Runs the study and writes it to a directory, `out` or a new one under `runs/`.

        With `resume`, the run in that directory continues after its last whole round, with the same
        tables as if it had never stopped. Where other code made that round, `other_code` is needed
        too; the manifest then records which code made which rounds. With `wait`, another process
        that writes a run there is waited for. `progress` displays the progress: a bar on a
        terminal, one changing line in a notebook, else a line for each round on stderr.
        `on_progress` is called after every step, `on_round` after every written round.

        Raises `StudyError` for a study that can't be run, `PluginFailed` where the user's own code
        fails, and `SimulationError` or `EndlessWait` where a simulation fails. A fatal error of
        ns-3 ends the process. Studies in several threads of one process take turns, round by round.
        """
        from collapipe_ns3.result import Result
        from collapipe_ns3.run.progress import shown

        study = self.with_(scheme=scheme, seed=seed, rounds=rounds)

        options = _RunOptions(out, resume, other_code, device, watchdog_s, on_round, wait, traces)

        display: contextlib.AbstractContextManager[Callable[[Progress], None]] = (
            shown(study.config.rounds, Console(stderr=True))
            if progress
            else contextlib.nullcontext(lambda step: None)
        )
        with display as show:

            def run(go_on: Callable[[], None]) -> Path:
                def report(step: Progress) -> None:
                    go_on()
                    show(step)
                    on_progress(step)

                return study._run(options, report)

            return Result(outside_any_loop(run))

    def _run(self, options: _RunOptions, on_progress: Callable[[Progress], None]) -> Path:
        """Runs the study; returns its directory."""
        path = self.directory(options.out, resume=options.resume, other_code=options.other_code)
        code = code_identity.of_study(self.config)
        run = self.prepare(device=options.device, watchdog_s=options.watchdog_s)
        run.traces = TraceFiles(path / "traces", options.traces) if options.traces else None
        with self._directory_errors(path), RunDirectory(path, wait=options.wait) as directory:
            # Checked again under the lock: only now can no other process change the directory.
            config = self.config
            task = task_facts(config.task.name, run.task)
            facts = manifest(config.scheme.name, config.seed, options.device, code, task)
            if not options.resume:
                self._expect_free(path)
            elif written := self._to_resume(path, options.other_code):
                if written.is_closed and written.rounds >= self.config.rounds:
                    return path
                self._expect_same_data(path, written, task)
                self._resume(run, directory, written)
                if run.next_round >= self.config.rounds:
                    return path
                facts = resumed_manifest(facts, written.manifest, run.next_round, code)
            files = task_files(config.task.name, run.task)
            directory.describe(self.to_yaml(), facts, files, media_rows(run.media))
            hint = f"the rounds before it are kept in {path}; continue there with --resume\n"
            with runtime.reporting(hint=hint):
                for record in run.rounds(self.config.rounds, on_progress):
                    directory.add(record.files(), json.dumps(record.line()), run.checkpoint())
                    options.on_round()
            if run.ended:
                facts = {**facts, "ended": {"rounds": run.next_round, "reason": run.ended}}
                directory.describe(self.to_yaml(), facts, files, media_rows(run.media))
        return path

    def directory(self, out: str | Path | None, *, resume: bool, other_code: bool = False) -> Path:
        """The directory of a run: one without a run, or with `resume` the one to resume.

        Raises `StudyError` where the directory holds a run but shouldn't, or holds none but should,
        or where the run can't be resumed. Rounds by other code need `other_code`.
        """
        config = self.config
        name = f"{config.name}-{config.scheme.name}-seed{config.seed}"
        path = Path(out) if out is not None else RUNS / name
        if not is_utf8(path):
            raise self._out_error(path, NOT_UTF8)
        with self._directory_errors(path):
            if resume:
                self._to_resume(path, other_code)
            elif out is None:
                numbered = (RUNS / f"{name}-{number}" for number in itertools.count(2))
                return next(p for p in itertools.chain([path], numbered) if not p.exists())
            else:
                self._expect_free(path)
        return path

    def _expect_free(self, path: Path) -> None:
        """Raises `StudyError` unless a run may be written there, over one without rounds too."""
        if not path.exists():
            return
        names = {each.name for each in path.glob("[!.]*")} if path.is_dir() else {path.name}
        if names - {STUDY, MANIFEST, MEDIA, DIGESTS, TASK_FOLDER} or rounds_done(path):
            raise self._out_error(path, "is not empty: name another, or resume the run in it")

    def _to_resume(self, path: Path, other_code: bool) -> WholeRun | None:
        """The run to resume; None where it was stopped before any of its files was written.

        Raises `StudyError` unless it is whole, is of this study, scheme and seed, and was made by
        this code.
        """
        if not is_begun(path) and (path / LOCK).exists():
            return None
        if not is_begun(path):
            raise self._out_error(path, "holds no run to resume")
        written = examine(path)
        if written.digests is None:
            what = "was written by an earlier version, without the digests that resuming needs"
            raise self._out_error(path, what)
        study = study_file.parse(str(path / STUDY), written.study, folder=path)
        if _without_rounds(study) != _without_rounds(self.config):
            raise self._out_error(path, "holds a run of another study, scheme or seed")
        if study.rounds != self.config.rounds and study.training.schedule != "constant":
            what = (
                f"its learning rates are scheduled for {study.rounds} rounds; resume it with those"
            )
            raise self._out_error(path, what)
        present, last = code_identity.of_study(self.config), range(written.rounds)[-1:]
        if not other_code and (changed := code_changes(written.manifest, last, present)):
            what = f"its rounds were made by other code than the present: {'; '.join(changed)}"
            hint = "--other-code continues with the present code, and the manifest records it"
            raise self._out_error(path, f"{what}; {hint}")
        return written

    def _expect_same_data(self, path: Path, written: WholeRun, task: Mapping[str, Any]) -> None:
        """Raises `StudyError` if the earlier rounds were trained on other data than the present."""
        was = written.manifest.get("task", {}).get("digest")
        if written.rounds and was is not None and was != task.get("digest"):
            raise self._out_error(
                path,
                f"its rounds were made with other data of the task {self.config.task.name}: the "
                f"digest was {was}, and is {task.get('digest')}",
            )

    def _resume(self, run: Run, directory: RunDirectory, written: WholeRun) -> None:
        """Restores the state of the run as it was after its last round."""
        checkpoint = directory.resume(written)
        try:
            if checkpoint:
                run.resume(checkpoint)
        except (OSError, SchemeFailed):
            raise
        except Exception as error:  # of any kind: torch may be of another version
            what = f"can't be read: {str(error).splitlines()[0]}"
            raise NotWhole(directory.path, [(CHECKPOINT, what)]) from None

    @contextlib.contextmanager
    def _directory_errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.strerror or str(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and (kept := rounds_done(path)):
                what += f"; the {kept} rounds before are kept, and --resume continues after them"
            raise self._out_error(path, what) from None
        except (NotARun, NotWhole) as error:
            raise StudyError(self.config.name, of_run_directory(error)) from None

    def _out_error(self, path: Path, what: str) -> StudyError:
        return StudyError(self.config.name, [Problem("--out", f"{path}: {what}")])


@dataclass(frozen=True, slots=True)
class _RunOptions:
    """How `Study.run` executes a run; see there."""

    out: str | Path | None
    resume: bool
    other_code: bool
    device: str
    watchdog_s: float | None
    on_round: Callable[[], None]
    wait: bool
    traces: Collection[TraceKind]


def _without_rounds(config: StudyConfig) -> StudyConfig:
    return config.model_copy(update={"rounds": 1})
