"""The contract of learning tasks: the document's example fulfils it, violations fail a check."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import plugging
import pytest
from typer.testing import CliRunner, Result

from collapipe_ns3.cli.app import app
from collapipe_ns3.contract import Check, run_checks
from collapipe_ns3.contract.task import TaskContract
from collapipe_ns3.learning import registry
from run_directory.whole import examine

PAGE = (Path(__file__).parents[3] / "docs" / "own-task.md").read_text()
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def example(tmp_path: Path) -> Iterator[ModuleType]:
    """The example of the document, in which tests replace functions."""
    module = f"example_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{module}.py").write_text(EXAMPLE)
    return importlib.import_module(module)


def failed(checks: list[Check]) -> dict[str, str]:
    return {each.name: each.note for each in checks if each.state == "failed"}


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.TASKS.names())
def test_a_bundled_task_fulfils_the_contract(name: str) -> None:
    checks = list(run_checks(TaskContract(name, registry.factory(name)).stages()))
    assert [each for each in checks if each.state != "ok"] == []


@pytest.mark.slow
def test_the_example_is_found_by_its_entry_point_checked_validated_and_run(tmp_path: Path) -> None:
    (study,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "digits.yaml").write_text(study)
    plugging.install_module(tmp_path, EXAMPLE, "learning", "largest", "Largest")
    checked = json.loads(call("check", "largest", "--json").stdout)
    assert [each for each in checked["checks"] if each["state"] != "ok"] == []
    assert call("validate", "digits.yaml").exit_code == 0
    shown = call("show", "digits.yaml").stdout
    assert "digits: 4" in shown
    done = call("run", "digits.yaml", "--out", "done")
    assert done.exit_code == 0, done.output
    assert examine(tmp_path / "done").rounds == 6
    assert "0.9" in done.stdout or "1.0" in done.stdout


BROKEN_TASKS = {
    "settings have types and defaults": (
        """
class Broken(Largest):
    def __init__(self, setup, digits: int):
        super().__init__(setup, digits)
""",
        "digits: expected a default",
    ),
    "is made for a study with two clusters": (
        """
from collapipe_ns3.learning.protocol import BadTask
class Broken(Largest):
    def __init__(self, setup):
        raise BadTask("task.data", "no such folder")
""",
        "task.data: no such folder",
    ),
    "names its main metric": (
        """
class Broken(Largest):
    metric = "accuracy"
""",
        "not 'accuracy'",
    ),
    "has shares of the clusters that add up to 1": (
        """
class Broken(Largest):
    def __init__(self, setup):
        super().__init__(setup)
        self.shares = [0.5, 0.4]
""",
        "not to 0.9",
    ),
    "has lengths of at most the longest": (
        """
class Broken(Largest):
    def lengths(self, cluster):
        return Lengths(9, 1)
""",
        "lengths(0).tokens: expected an integer from 1 to 8, not 9",
    ),
    "has batches with the right types and shapes": (
        """
class Broken(Largest):
    def drawn(self, *args):
        batch = super().drawn(*args)
        return Batch(batch.inputs, batch.side, (batch.labels[0][:3],), batch.predictions.float())
""",
        "predictions: expected an int64 tensor, not torch.float32",
    ),
    "repeats its batches for the same round": (
        """
class Broken(Largest):
    calls = 0
    def batches(self, cluster, round):
        Broken.calls += 1
        return super().batches(cluster, round + 100 * Broken.calls)
""",
        "cluster 0: the same task has other batches for round 0",
    ),
    "has other batches in another round": (
        """
class Broken(Largest):
    def batches(self, cluster, round):
        return super().batches(cluster, 0)
""",
        "cluster 0: the batches of rounds 0 and 1 are the same",
    ),
    "has a report, files and a digest that can be written": (
        """
class Broken(Largest):
    def files(self):
        return {"../tokenizer.json": b""}
""",
        "not '../tokenizer.json'",
    ),
    "has a model with a first part, blocks and a last part": (
        """
class Broken(Largest):
    def model(self, seed):
        return Recurrent(16, 0)
""",
        "expected a first part, at least one block and a last part, not embedding, head",
    ),
    "has every parameter in exactly one part": (
        """
class Tied(Recurrent):
    def __init__(self):
        super().__init__(16, 2)
        self.head.weight = self.embedding.weight
class Broken(Largest):
    def model(self, seed):
        torch.manual_seed(seed)
        return Tied()
""",
        "embedding.weight is in the parts embedding and head",
    ),
    "copies its model with its parts": (
        """
class Kept(Recurrent):
    def __init__(self):
        super().__init__(16, 2)
        parts = super().parts()
        self.parts = lambda: parts
class Broken(Largest):
    def model(self, seed):
        torch.manual_seed(seed)
        return Kept()
""",
        "part embedding of a copy (copy.deepcopy) is that of the original",
    ),
    "leaves torch's global generator unchanged": (
        """
class Broken(Largest):
    def model(self, seed):
        torch.manual_seed(seed)
        return Recurrent(16, 2)
""",
        "torch.random.fork_rng",
    ),
    "draws the same weights from the same seed": (
        """
class Broken(Largest):
    def model(self, seed):
        return super().model(id(object()) + torch.seed())
""",
        "is different in two models with the same seed",
    ),
    "computes one part after another": (
        """
class Wrong(Recurrent):
    def __init__(self):
        super().__init__(16, 2)
        self.blocks[1] = nn.Linear(17, 16)
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Wrong()
""",
        "part blocks.1, given float32 [12, 8, 16]: RuntimeError: mat1 and mat2 shapes",
    ),
    "has finite gradients": (
        """
class Root(Recurrent):
    def scores(self, x):
        return super().scores(x) + (x[0][:, -1].sum(1, keepdim=True) * 0).sqrt()
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Root(16, 2)
""",
        "is not finite",
    ),
    "adds up the losses of micro-batches to that of the batch": (
        """
class Mean(Recurrent):
    def loss(self, x, side, labels, total):
        return F.cross_entropy(self.scores(x), labels[0])
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Mean(16, 2)
""",
        "a batch and its 5 micro-batches differ",
    ),
    "computes the same when it is cut": (
        """
class Hidden(Recurrent):
    def run(self, part, x, side):
        output = super().run(part, x, side)
        if part is self.embedding:
            self.kept = output[0]
        return output
    def scores(self, x):
        return self.head(x[0][:, -1] + self.kept[:, -1])
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Hidden(16, 2)
""",
        "",
    ),
    "computes the same as its model's own `uncut`": (
        """
class Normed(Recurrent):
    def uncut(self, batch):
        x = self.encode(batch.inputs, batch.side)[0]
        scores = self.head(F.layer_norm(x[:, -1], x.shape[-1:]))
        return F.cross_entropy(scores, batch.labels[0])
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Normed(16, 2)
""",
        "the loss of the parts and that of `uncut` differ: the ",
    ),
    "adds up the losses of its local head": (
        """
class Local(Recurrent):
    def new_local_head(self):
        return nn.Linear(16, 10)
    def local_loss(self, x, side, labels, total):
        return F.cross_entropy(self.local_head(x[0][:, -1]), labels[0])
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Local(16, 2)
""",
        "by the local head, a batch and its 5 micro-batches differ",
    ),
    "evaluates with finite metrics": (
        """
class Broken(Largest):
    def evaluate(self, model):
        return {"accuracy": float("nan")}
""",
        "accuracy: expected a finite number, not nan",
    ),
    "runs with the same results twice": (
        """
class Broken(Largest):
    made = 0
    def __init__(self, setup):
        super().__init__(setup)
        Broken.made += 1
        self.number = Broken.made
    def evaluate(self, model):
        return {"accuracy": 0.001 * self.number}
""",
        "rounds.metric",
    ),
    "resumes after a stop with the same results": (
        """
class Broken(Largest):
    seen = frozenset()
    def evaluate(self, model):
        self.seen |= {model.embedding.weight[0, 0].item()}
        return {"accuracy": 0.1 * len(self.seen)}
""",
        "a run and one that was stopped after each round differ",
    ),
}


LATE = ("runs with the same results twice", "resumes after a stop with the same results")


@pytest.mark.parametrize(
    "broken",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LATE)) for name in BROKEN_TASKS],
)
def test_each_violation_fails_its_check(broken: str, example: ModuleType) -> None:
    code, says = BROKEN_TASKS[broken]
    namespace = vars(example)
    exec(code, namespace)
    checks = list(run_checks(TaskContract("broken", namespace["Broken"]).stages()))
    found = failed(checks)
    assert broken in found, checks
    assert says in found[broken]


def test_a_loss_that_is_not_a_number_names_the_last_part(example: ModuleType) -> None:
    code = """
class Zero(Recurrent):
    def loss(self, x, side, labels, total):
        return super().loss(x, side, labels, 0) * 0
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Zero(16, 2)
"""
    exec(code, vars(example))
    checks = list(run_checks(TaskContract("broken", example.Broken).stages()))
    assert failed(checks) == {"computes one part after another": "part head: the loss is nan"}


def test_an_output_without_the_axis_of_sequences_names_its_part(example: ModuleType) -> None:
    code = """
class Turned(Recurrent):
    def run(self, part, x, side):
        return (super().run(part, x, side)[0].transpose(0, 1),)
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Turned(16, 2)
"""
    exec(code, vars(example))
    checks = list(run_checks(TaskContract("broken", example.Broken).stages()))
    (note,) = failed(checks).values()
    assert note == (
        "part embedding, given int64 [12, 8]: expected the first axis of its output to be 12 "
        "sequences, and the output is float32 [8, 12, 16]"
    )


@pytest.mark.parametrize(
    ("ties", "says"),
    [
        ({"head.weight": "embedding.weight"}, "are not equal at first"),
        ({"head.weight": "head.weight"}, "expected a parameter of the first part, not head.weight"),
        ({"weight": "embedding.weight"}, "expected a parameter of the last part, not weight"),
    ],
)
def test_wrong_ties_are_reported(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, ties: dict[str, str], says: str
) -> None:
    monkeypatch.setattr(example.Recurrent, "tied", ties)
    checks = list(run_checks(TaskContract("broken", example.Largest).stages()))
    note = failed(checks)["has every parameter in exactly one part"]
    assert note.startswith("tied: ")
    assert says in note


def test_costs_that_do_not_follow_from_the_shapes_are_reported(example: ModuleType) -> None:
    code = """
class Cubic(Recurrent):
    def run(self, part, x, side):
        output = super().run(part, x, side)
        tokens = output[0].shape[1]
        return (output[0] + 0 * sum(output[0].exp() for _ in range(tokens**3)),)
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Cubic(16, 2)
"""
    exec(code, vars(example))
    checks = list(run_checks(TaskContract("broken", example.Broken).stages()))
    (name,) = failed(checks)
    assert name == "has costs that follow from the shapes of a batch"


@pytest.mark.slow
def test_a_part_may_have_no_parameters_and_several_tensors_may_travel(example: ModuleType) -> None:
    code = """
class OneHot(nn.Module):
    def forward(self, digits):
        return F.one_hot(digits, 10).float()
class Two(Recurrent):
    def __init__(self):
        super().__init__(16, 2)
        self.embedding = OneHot()
        self.blocks[0] = nn.Linear(10, 16)
    def run(self, part, x, side):
        *others, last = x
        output = part(last)
        return (output.sum(1), output) if part is self.blocks[1] else (output,)
    def scores(self, x):
        return self.head(x[0] + x[1][:, -1])
class Mine(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Two()
"""
    exec(code, vars(example))
    checks = list(run_checks(TaskContract("mine", example.Mine).stages()))
    assert failed(checks) == {}


def test_a_model_that_sends_integers_between_its_parts_is_refused(example: ModuleType) -> None:
    code = """
class Late(Recurrent):
    def __init__(self):
        super().__init__(16, 2)
        self.embedding = nn.Identity()
        self.blocks[0] = nn.Embedding(10, 16)
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Late()
"""
    exec(code, vars(example))
    checks = list(run_checks(TaskContract("broken", example.Broken).stages()))
    (note,) = failed(checks).values()
    assert note == (
        "part embedding: expected a tensor of floating-point numbers, and the output is "
        "int64 [12, 8]"
    )


@pytest.mark.slow
def test_dropout_is_the_same_when_the_model_is_cut(example: ModuleType) -> None:
    code = """
class Broken(Largest):
    def model(self, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Recurrent(16, 3)
            model.blocks[1] = nn.Sequential(model.blocks[1], nn.Dropout(0.5))
            return model
    def evaluate(self, model):
        return super().evaluate(model.eval())
"""
    exec(code, vars(example))
    checks = list(run_checks(TaskContract("mine", example.Broken).stages()))
    assert failed(checks) == {}


def test_the_command_reports_an_unknown_task_as_such(tmp_path: Path) -> None:
    done = call("check", "numbrs", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"] == ("no scheme or task 'numbrs'; did you mean numbers?")


@pytest.mark.slow
def test_a_class_by_its_place_is_checked_as_a_task(example: ModuleType) -> None:
    done = call("check", f"{example.__name__}:Largest", "--json")
    names = [each["name"] for each in json.loads(done.stdout)["checks"]]
    assert "has every parameter in exactly one part" in names
