"""Studies from Python: load one, run it, look at its tables.

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
from collapipe_ns3.paths import NOT_UTF8, is_utf8
from collapipe_ns3.plan import PlanError, RoundPlan
from collapipe_ns3.problems import Problem, StudyError, of_run_directory
from collapipe_ns3.reading import study_file
from collapipe_ns3.reading.footprint import lacking_here
from collapipe_ns3.reading.origins import Origins
from collapipe_ns3.reading.overrides import Overrides
from collapipe_ns3.reading.warnings import warnings_of
from collapipe_ns3.run import code_identity
from collapipe_ns3.run.manifest import code_changes, going_on, manifest
from collapipe_ns3.run.outside_loops import OnProgress, outside_any_loop
from collapipe_ns3.schemes import SchemeFailed
from ns3_scenarios import runtime
from ns3_scenarios.runtime import SimulationError
from ns3_scenarios.traces import TraceFiles, TraceKind
from run_directory.whole import (
    CHECKPOINT,
    DIGESTS,
    MANIFEST,
    STUDY,
    NotARun,
    NotWhole,
    WholeRun,
    examine,
    is_begun,
    rounds_done,
)
from run_directory.writing import LOCK, RunDirectory

# torch, pandas and pyarrow take seconds to import, which reading a study need not wait for: the
# methods that need them import what does.
if TYPE_CHECKING:
    from collapipe_ns3.result import Result
    from collapipe_ns3.run.preview import Preview
    from collapipe_ns3.run.runner import Progress, Run

RUNS = Path("runs")

#: Wall seconds of simulating without the end of any wait, or of planning, that end a run.
WATCHDOG_S = 3600.0


@dataclass(frozen=True)
class Study:
    """A study that has been checked.

    `settings` are those of schemes that it had before, `origins` say where its keys are written.
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
        """A bundled study by name, or one from a YAML file; `sets` are `a.b=value` on top of it.

        Where another `scheme` is named, `sets` may be of its settings. `keys` are as in `with_`:
        `Study.load("quickstart", training__local_steps=3)`. Raises `StudyError` with everything
        that is wrong.
        """
        opened = study_file.opened(str(study), sets, scheme)
        written = (
            study_file.written_scheme(str(study)) if scheme is not None else opened.config.scheme
        )
        loaded = cls(opened.config, {written.name: written.settings}, opened.origins)
        return loaded.with_(**keys) if keys else loaded

    @classmethod
    def from_yaml(cls, text: str, called: str = "given as text") -> Self:
        """A study from the text of a study file, which errors call so; raises `StudyError`."""
        opened = study_file.understood(called, text)
        return cls(opened.config, origins=opened.origins)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is doubtful in it, each with its place; it can be run nevertheless."""
        return tuple(self.origins.located(warnings_of(self.config)))

    def to_yaml(self) -> str:
        """The whole study, defaults included; `from_yaml` gives the same again."""
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
        """The same study with another scheme, seed or length, or with other values of any keys.

        `set` has them by path, `{"training.local_steps": 3, "clusters[0].size": 100}`; as `keys`
        they have two underscores for a dot, `training__local_steps=3`. Another scheme comes with
        the settings that the study had for it, else with its defaults, and paths may be of these.
        Raises `StudyError` with everything that is wrong.
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
            located = self.origins.under(overrides).located(found)
            raise StudyError(self.config.name, [*overrides.problems, *located])
        return Study(config, known, self.origins.under(overrides))

    def plan(self) -> RoundPlan:
        """The first round's plan, its network tried out; raises `StudyError` where either fails."""
        return self.try_out()[0]

    def try_out(self) -> tuple[RoundPlan, list[Problem]]:
        """What `plan` gives, and what its scheme finds doubtful in the study."""
        from collapipe_ns3.run.planning import Planning

        with self._planning_errors():
            plan, warnings = Planning(self.config, WATCHDOG_S).first()
            self._expect_memory(plan)
        return plan, self.origins.located(warnings)

    def preview(self) -> Preview:
        """The first round's links, all of them measured, its plan and predicted timeline.

        Raises `StudyError` where there can't be one, `PluginFailed` where the user's code fails.
        """
        from collapipe_ns3.run.planning import Planning
        from collapipe_ns3.run.preview import preview

        with self._planning_errors():
            return preview(Planning(self.config, WATCHDOG_S))

    def prepare(self, *, device: str = "cpu", watchdog_s: float | None = WATCHDOG_S) -> Run:
        """The run before its first round, which was tried out as `plan` does.

        `device` is torch's for all tensors. Raises what `preview` does, and `EndlessWait` where
        planning does not end.
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
        """Raises `StudyError` where this machine hasn't the memory that the study takes."""
        if lacking := lacking_here(self.config, plan):
            raise self._error([lacking])

    @contextlib.contextmanager
    def _planning_errors(self) -> Iterator[None]:
        """Turns what keeps the first round from being run into problems of the study."""
        self._expect_memory()
        try:
            yield
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
        on_progress: OnProgress = lambda progress: None,
        on_round: Callable[[], None] = lambda: None,
        wait: bool = False,
        traces: Collection[TraceKind] = (),
    ) -> Result:
        """Runs the study into a directory of its own, `out` or a new one under `runs/`.

        With `resume` the run in that directory goes on from its last whole round, to the same
        tables as if it had never stopped; where other code made that round, only with
        `other_code`, and the manifest then says which code made which rounds. With `wait` a run
        of another process there is waited for. `progress` shows how far the run is: a bar on a
        terminal, in a notebook a line that changes, else a line a round on stderr. `on_progress`
        is called with every step, `on_round` after every round that was written. Raises
        `StudyError` for what can't be run, `PluginFailed` where the user's own code fails, and
        `SimulationError` or `EndlessWait` where a simulation fails; what ends ns-3 ends the process
        too. Studies in several threads of one process take turns, round by round.
        """
        from collapipe_ns3.result import Result
        from collapipe_ns3.run.progress import shown

        study = self.with_(scheme=scheme, seed=seed, rounds=rounds)

        def work(on_step: OnProgress) -> Path:
            return study._run(
                out, resume, other_code, device, watchdog_s, on_step, on_round, wait, traces
            )

        display: contextlib.AbstractContextManager[OnProgress] = (
            shown(study.config.rounds, Console(stderr=True))
            if progress
            else contextlib.nullcontext(lambda step: None)
        )
        with display as show:

            def told(step: Progress) -> None:
                show(step)
                on_progress(step)

            return Result(outside_any_loop(work, told))

    def _run(
        self,
        out: str | Path | None,
        resume: bool,
        other_code: bool,
        device: str,
        watchdog_s: float | None,
        on_progress: OnProgress,
        on_round: Callable[[], None],
        wait: bool,
        traces: Collection[TraceKind],
    ) -> Path:
        path = self.directory(out, resume=resume, other_code=other_code)
        code = code_identity.of_study(self.config)
        run = self.prepare(device=device, watchdog_s=watchdog_s)
        run.traces = TraceFiles(path / "traces", traces) if traces else None
        with self._directory_errors(path), RunDirectory(path, wait=wait) as directory:
            # Only what is found under the lock is sure to stay as it is.
            facts = manifest(self.config.scheme.name, self.config.seed, device, code)
            if not resume:
                self._expect_free(path)
            elif there := self._to_resume(path, other_code):
                if there.is_closed and there.rounds >= self.config.rounds:
                    return path
                self._resume(run, directory, there)
                if run.next_round >= self.config.rounds:
                    return path
                facts = going_on(facts, there.manifest, run.next_round, code)
            directory.describe(self.to_yaml(), facts)
            kept = f"the rounds before it are kept in {path}; go on there with --resume\n"
            with runtime.reporting(hint=kept):
                for record in run.rounds(self.config.rounds, on_progress):
                    directory.add(record.files(), json.dumps(record.line()), run.checkpoint())
                    on_round()
        return path

    def directory(self, out: str | Path | None, *, resume: bool, other_code: bool = False) -> Path:
        """Where a run goes: a directory that holds none yet, or the one to resume.

        Raises `StudyError` where there is one and shouldn't be, or none and should, or where it
        can't be resumed, as with rounds by other code unless `other_code`.
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
        """Raises `StudyError` unless a run may be written there, one without rounds overwritten."""
        if not path.exists():
            return
        names = {each.name for each in path.glob("[!.]*")} if path.is_dir() else {path.name}
        if names - {STUDY, MANIFEST, DIGESTS} or rounds_done(path):
            raise self._out_error(path, "is not empty: name another, or resume the run in it")

    def _to_resume(self, path: Path, other_code: bool) -> WholeRun | None:
        """The run there, None where it was stopped before anything of it was written.

        Raises `StudyError` unless it is whole, of this study, scheme and seed, and by this code.
        """
        if not is_begun(path) and (path / LOCK).exists():
            return None
        if not is_begun(path):
            raise self._out_error(path, "holds no run to resume")
        there = examine(path)
        if there.digests is None:
            what = "was written by an earlier version, without the digests that resuming needs"
            raise self._out_error(path, what)
        kept = study_file.parse(str(path / STUDY), there.study, folder=path)
        if _without_rounds(kept) != _without_rounds(self.config):
            raise self._out_error(path, "holds a run of another study, scheme or seed")
        present, last = code_identity.of_study(self.config), range(there.rounds)[-1:]
        if not other_code and (changed := code_changes(there.manifest, last, present)):
            told = f"its rounds were made by other code than the present: {'; '.join(changed)}"
            hint = "--other-code goes on with the present, and the manifest then says so"
            raise self._out_error(path, f"{told}; {hint}")
        return there

    def _resume(self, run: Run, directory: RunDirectory, there: WholeRun) -> None:
        """Takes the run up where it was stopped."""
        checkpoint = directory.go_on(there)
        try:
            if checkpoint:
                run.resume(checkpoint)
        except (OSError, SchemeFailed):
            raise
        except Exception as error:  # whatever torch says of what another version of it wrote
            what = f"can't be read: {str(error).splitlines()[0]}"
            raise NotWhole(directory.path, [(CHECKPOINT, what)]) from None

    @contextlib.contextmanager
    def _directory_errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.strerror or str(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and (kept := rounds_done(path)):
                what += f"; the {kept} rounds before are kept, and --resume goes on from there"
            raise self._out_error(path, what) from None
        except (NotARun, NotWhole) as error:
            raise StudyError(self.config.name, of_run_directory(error)) from None

    def _out_error(self, path: Path, what: str) -> StudyError:
        return StudyError(self.config.name, [Problem("--out", f"{path}: {what}")])


def _without_rounds(config: StudyConfig) -> StudyConfig:
    return config.model_copy(update={"rounds": 1})
