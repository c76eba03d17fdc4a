"""The size of a study is limited by the memory that it is predicted to need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import studies
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3 import Study, StudyError
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.learning.numbers import Numbers
from collapipe_ns3.learning.protocol import Setup
from collapipe_ns3.learning.sizes import test_sequences as sequences_of_test
from collapipe_ns3.reading.footprint import MOST_BYTES, footprint
from collapipe_ns3.reading.study_file import check

KINDS = ("cardinal", "ordinal", "year", "date")


def errors_of(data: dict[str, Any]) -> dict[str, str]:
    return {problem.path: problem.message for problem in check(data)[1]}


def test_the_schema_has_the_limits() -> None:
    schema = StudyConfig.model_json_schema()
    assert f"{MOST_BYTES // 2**30} GiB" in schema["description"]
    assert schema["properties"]["clusters"]["maxItems"] == 1000
    definitions = schema["$defs"]
    assert definitions["Cluster"]["properties"]["devices"]["maxItems"] == 1000
    assert definitions["Model"]["properties"]["decoder_blocks"]["maximum"] == 1000


def test_three_hundred_clusters_of_ten_devices_are_within_the_limits() -> None:
    data = studies.many(300, 10)
    config, found = check(data)
    assert (found, config is None) == ([], False)
    assert config is not None
    assert footprint(config).total < 2 * 2**30


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        ({"model": {"decoder_blocks": 10**8}}, "model.decoder_blocks", "1000 or less"),
        ({"task": {"cluster_size": 10**9}}, "task.cluster_size", "10000000 or less"),
        ({"clusters": studies.many(3000, 1)["clusters"]}, "clusters", "at most 1000 of them"),
        (
            {"model": {"width": 65536, "feed_forward": 262144, "encoder_blocks": 1000}},
            "model",
            "of memory where it runs, and a study may take 256 GiB",
        ),
        (
            studies.many(40, 800, propagation={"d2d": {"model": "umi", "fading": "rayleigh"}}),
            "clusters",
            "and a study may take 256 GiB",
        ),
    ],
)
def test_sizes_beyond_memory_are_refused(changes: dict[str, Any], path: str, says: str) -> None:
    assert says in errors_of(studies.tiny(**changes))[path]


@pytest.mark.parametrize(
    ("task", "model", "name"),
    [
        ("intents", "encoder", "train.csv"),
        ("ner", "encoder", "train.conll"),
        ("translation", "transformer", "train.de"),
    ],
)
def test_files_larger_than_memory_are_refused_before_they_are_read(
    tmp_path: Path, task: str, model: str, name: str
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(2 * MOST_BYTES)  # a hole, which takes no space on disk
    (tmp_path / "other.bin").touch()
    changes: dict[str, Any] = {"model": {"name": model}, "task": {"name": task}}
    changes["task"]["data"] = str(tmp_path)
    assert "takes at least 1.28e+03 GiB" in errors_of(studies.tiny(**changes))["task"]
    (tmp_path / name).rename(tmp_path / "other.csv")
    assert errors_of(studies.tiny(**changes)) == {}


def test_frozen_blocks_and_missing_decoders_take_no_training_memory() -> None:
    """Blocks with LoRA have no gradients and states, and an encoder has no decoder's blocks."""
    model = {"name": "encoder", "width": 512, "feed_forward": 2048, "encoder_blocks": 2}
    memory = {"profile": "phone-midrange", "memory_bytes": 30e6}  # of two frozen blocks of 12.6 MB
    changes: dict[str, Any] = {
        "task": {"name": "intents"},
        "clusters": [{"cu": "jetson-nano", "devices": [memory]}],
        "server": {"profile": "edge-server", "memory_bytes": 30e6},
    }
    paths = errors_of(studies.tiny(model=model, **changes)).keys()
    assert paths == {"clusters[0].devices"}
    assert errors_of(studies.tiny(model={**model, "lora": {"rank": 4}}, **changes)) == {}


def test_what_this_machine_has_not_is_refused_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = Study(studies.config())
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(StudyError, match=r"model: takes at least .* this machine has 9\.31e-08"):
        study.plan()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(10, 300),
    st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
    st.integers(1, 100),
    st.integers(10, 600),
)
def test_the_test_set_is_as_large_as_predicted(
    limit: int, kinds: list[str], phrases: int, test_size: int
) -> None:
    model = {"width": 8, "heads": 2, "feed_forward": 8, "encoder_blocks": 1, "decoder_blocks": 1}
    setup = Setup((4,), batch_size=2, seed=1, model=model)
    if not sequences_of_test(kinds, limit, phrases, test_size):
        return  # which `Numbers.problems` refuses
    made = Numbers(setup, limit, tuple(kinds), phrases, test_size)  # type: ignore[arg-type]
    assert len(made._test) == sequences_of_test(kinds, limit, phrases, test_size)


def test_a_test_set_that_comes_out_empty_is_refused_as_the_study_is_read() -> None:
    task = {"limit": 10, "kinds": ["cardinal"], "phrases": 6, "test_size": 10, "cluster_size": 32}
    assert "don't make a sequence of 6" in errors_of(studies.tiny(task=task))["task.phrases"]
    assert errors_of(studies.tiny(task={**task, "phrases": 5})) == {}


_SOUNDED = """
import resource
import studies
from bridge import loop
from collapipe_ns3.topology import layout
from collapipe_ns3.reading.study_file import check
from ns3_scenarios import network, runtime

config, _ = check(studies.many(600, 1))
runtime.native()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net = network.build(layout.scenario(config, 1, 0))
loop.run(net, net.sound([("c0.cu", "c0.d0")]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_pair_of_nodes_takes_one_number() -> None:
    """With one a resource block, 3000 clusters ended in `std::bad_alloc`, and so in SIGSEGV."""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", _SOUNDED],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert int(done.stdout.split()[-1]) * 1024 < 200e6  # 1.2 GB with 100 numbers a pair
