"""The exchange that a study gives to every scheme: its groups, and what plans get by it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import studies

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.exchange import chunk_problems, whole
from collapipe_ns3.learning import registry
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.problems import StudyError
from collapipe_ns3.reading import study_file
from collapipe_ns3.reading.footprint import Footprint, footprint
from collapipe_ns3.reading.study_schema import study_schema
from collapipe_ns3.run.model import model_costs
from collapipe_ns3.run.planning import Planning
from collapipe_ns3.study import Study
from collapipe_ns3.topology import layout
from collapipe_ns3.topology.common_exchange import common_arrangement
from collapipe_ns3.topology.media import media

SIDE = {"cu": "jetson-nano", "position": [-20, 10], "devices": ["raspberry-pi-4"]}
BACK = {**SIDE, "position": [-20, -30]}
FAR = {**SIDE, "position": [900, 10], "station": "bs1"}


def training(exchange: dict[str, Any] | None) -> dict[str, Any]:
    return {**studies.TINY["training"], "exchange": exchange}


def arrangement_of(exchange: dict[str, Any], **changes: Any) -> Arrangement:
    """The arrangement of the tiny study with two clusters more."""
    changes.setdefault("clusters", [*studies.TINY["clusters"], SIDE, BACK])
    return of_study(studies.config(training=training(exchange), **changes))


def of_study(config: StudyConfig) -> Arrangement:
    given = config.training.exchange
    assert given is not None
    used = media(layout.scenario(config, config.seed, 0))
    return common_arrangement(given, layout.device_names(config), used, costs_of(config))


def costs_of(config: StudyConfig) -> ModelCosts:
    task = registry.make(config.task.name, config.learning_setup(), config.task.settings)
    return model_costs(config, task, named=True)


def errors_of(**changes: Any) -> dict[str, str]:
    return {each.path: each.message for each in study_file.check(studies.tiny(**changes))[1]}


def test_the_default_is_everything_that_loses_nothing() -> None:
    assert arrangement_of({}) == Arrangement(
        groups=(Group((0, 1, 2)),),
        within=(0, 1, 2),
        uploads=dict.fromkeys(range(3), FP32),
        chunk_bytes=32 * 1024,  # of a tiny model
        in_turn=False,
    )


def test_each_station_has_a_group() -> None:
    clusters = [*studies.TINY["clusters"], FAR, SIDE]
    groups = arrangement_of({}, clusters=clusters, stations=[{"position": [905, 0]}]).groups
    assert groups == (Group((0, 2)), Group((1,)))


@pytest.mark.parametrize(
    ("radio", "groups", "within"),
    [
        ({"d2e": "lte"}, [(0,), (1,), (2,)], (0, 1, 2)),
        ({"d2d": "wifi"}, [(0, 1, 2)], ()),
        ({"d2e": {"transport": "tcp"}, "d2d": {"transport": "udp"}}, [(0,), (1,), (2,)], ()),
        ({"d2d": {"underlay": True}}, [(0, 1, 2)], (0, 1, 2)),
    ],
)
def test_multicast_is_used_where_the_radio_can(
    radio: dict[str, Any], groups: list[tuple[int, ...]], within: tuple[int, ...]
) -> None:
    made = arrangement_of({}, radio=radio)
    assert [each.clusters for each in made.groups] == groups
    assert made.within == within


def test_without_multicast_each_cluster_is_sent_its_own() -> None:
    made = arrangement_of({"multicast": False, "chunk_bytes": None})
    assert [each.clusters for each in made.groups] == [(0,), (1,), (2,)]
    assert (made.within, made.chunk_bytes) == ((), None)


def test_formats_are_those_of_the_study() -> None:
    up = {"numbers": "fp16", "difference": True, "largest": 0.01}
    made = arrangement_of({"down": "int8", "up": up, "chunk_bytes": "100 kB"})
    assert [each.format for each in made.groups] == [ParameterFormat("int8")]
    assert set(made.uploads.values()) == {ParameterFormat("fp16", True, 0.01)}
    assert made.chunk_bytes == 100_000


@pytest.mark.parametrize(("down", "number_bytes"), [("fp32", 4), ("fp16", 2)])
def test_automatic_chunks_are_a_128th_of_what_is_sent_of_the_model(
    down: str, number_bytes: int
) -> None:
    model = {**studies.TINY["model"], "feed_forward": 65_536}
    config = studies.config(model=model, training=training({"down": down}))
    costs = costs_of(config)
    sent = costs.parameter_bytes - costs.last.parameter_bytes  # the base station keeps the last
    assert of_study(config).chunk_bytes == math.ceil(sent * number_bytes / 4 / 128)


def test_automatic_chunks_of_a_small_model_are_32_kib() -> None:
    config = Study.load("quickstart").with_(set={"training.exchange": {}}).config
    assert costs_of(config).parameter_bytes < 128 * 32 * 1024
    assert of_study(config).chunk_bytes == 32 * 1024


@pytest.mark.parametrize("down", ["fp32", "int8"])
def test_automatic_chunks_never_make_too_many_transfers(down: str) -> None:
    members = ["raspberry-pi-4"] * 20
    clusters = [{**SIDE, "devices": members}, {**BACK, "devices": members}]
    model = {**studies.TINY["model"], "feed_forward": 65_536}
    wide = studies.config(
        clusters=clusters,
        model=model,
        training={**training({"down": down}), "batch_size": 20},
        scheme="vanilla_fl",
    )
    planning = Planning(wide)
    whole_model = planning.model_costs.parameter_bytes
    assert whole_model > 128 * 32 * 1024
    given = planning.exchange
    assert given is not None
    assert given.chunk_bytes is not None
    plan, bytes_of = planning.plan(), whole(planning.model_costs.units_bytes)
    assert sum(len(cluster.pipelines) for cluster in plan.clusters) == 40
    assert not list(chunk_problems(plan.exchange, bytes_of))
    smaller = plan.arranged_by(replace(given, chunk_bytes=given.chunk_bytes // 2))
    assert list(chunk_problems(smaller.exchange, bytes_of))


def test_a_wrong_word_for_the_size_of_chunks_names_the_right_one() -> None:
    wrong = {"training": training({"chunk_bytes": "automatic"})}
    assert "auto" in errors_of(**wrong)["training.exchange.chunk_bytes"].split("not")[0]
    few = {"training": training({"chunk_bytes": "10 apples"})}
    assert "unit" in errors_of(**few)["training.exchange.chunk_bytes"]


@pytest.mark.parametrize("tier", ["d2e", "d2d"])
def test_a_radio_that_cannot_multicast_is_named(tier: str) -> None:
    stack = {"d2e": "lte", "d2d": "wifi"}[tier]
    changes = {"training": training({"multicast": True}), "radio": {tier: stack}}
    (message,) = errors_of(**changes).values()
    assert f"radio.{tier}: {stack} can't send to several receivers at once" in message
    assert message.endswith("OFDMA with transport: direct can")
    assert errors_of(**{**changes, "radio": {}}) == {}


def test_every_error_of_an_exchange_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "name: wrong\n"
        "training:\n"
        "  exchange:\n"
        "    multicst: true\n"
        "    chunk_bytes: 10 B\n"
        "    down: int9\n"
        "    up: {numbers: int8, largest: 1.5}\n"
        "clusters: [{cu: jetson-nano, devices: [raspberry-pi-4]}]\n"
    )
    with pytest.raises(StudyError) as refused:
        study_file.read(str(file))
    found = {each.path.removeprefix("training.exchange."): each for each in refused.value.problems}
    assert {key: each.line for key, each in found.items()} == {
        "multicst": 4,
        "chunk_bytes": 5,
        "down.numbers": 6,
        "up.largest": 7,
    }
    assert "did you mean multicast?" in found["multicst"].message
    assert "did you mean int8?" in found["down.numbers"].message


def test_the_largest_numbers_alone_are_refused_without_differences() -> None:
    wrong = {"training": training({"up": {"largest": 0.1}})}
    assert "difference: true" in errors_of(**wrong)["training.exchange.up.largest"]


def test_the_schema_has_the_keys() -> None:
    definitions = study_schema()["$defs"]
    assert set(definitions["CommonExchange"]["properties"]) == {
        "multicast",
        "chunk_bytes",
        "down",
        "up",
    }
    assert set(definitions["Format"]["properties"]) == {"numbers", "difference", "largest"}


def test_a_study_with_an_exchange_is_written_and_read_back() -> None:
    exchange = {"multicast": False, "up": {"numbers": "int8", "difference": True}}
    config = studies.config(training=training(exchange))
    assert study_file.parse("again", study_file.dump(config)) == config


def test_many_small_chunks_take_memory() -> None:
    def taken(chunk_bytes: int | str | None) -> Footprint:
        return footprint(studies.config(training=training({"chunk_bytes": chunk_bytes})))

    assert taken(None).exchange == taken("auto").exchange == 0
    assert taken(1000).exchange == pytest.approx(10 * taken(10_000).exchange, rel=0.2)
    more = taken(1000).total - taken(None).total
    assert more == taken(1000).exchange


def plan_of(scheme: str, exchange: dict[str, Any] | None) -> tuple[RoundPlan, Planning]:
    """A scheme's own plan of the tiny study with a second cluster, and its planning."""
    clusters = [*studies.TINY["clusters"], SIDE]
    config = studies.config(clusters=clusters, training=training(exchange), scheme=scheme)
    planning = Planning(config)
    return planning.scheme.plan(0, planning.observation()), planning


@pytest.mark.parametrize("scheme", ["vanilla_fl", "pipeline", "titanic", "local"])
def test_baselines_leave_the_exchange_to_their_papers(scheme: str) -> None:
    plan, planning = plan_of(scheme, None)
    assert plan.exchange is None
    assert planning.observation().exchange is None
    assert plan.arranged_by(planning.exchange) is plan


@pytest.mark.parametrize("scheme", ["vanilla_fl", "pipeline", "titanic", "collapipe"])
def test_every_scheme_gets_the_exchange_of_the_study(scheme: str) -> None:
    plan, planning = plan_of(scheme, {})
    told = planning.observation().exchange
    assert told is not None
    made = plan.arranged_by(told).exchange
    assert made == arranged(plan.placements(), told)
    (down,) = (each for each in made.shipments if each.src == "bs")
    assert down.receivers == ("c0.cu", "c1.cu")


def test_vanilla_fl_sends_the_model_once_to_all_its_devices() -> None:
    plan, planning = plan_of("vanilla_fl", {"chunk_bytes": None})
    exchange = plan.arranged_by(planning.exchange).exchange
    assert exchange is not None
    whose = "pipeline 0 of cluster 0 and pipeline 1 of cluster 0"
    model = "embedding, blocks 0-1, decoder"
    assert [str(each) for each in exchange.shipments if not each.trained] == [
        f"down 0: bs → c0.cu, c1.cu, {model} for pipeline 0 of clusters 0, 1 and pipeline 1 of "
        "cluster 0",
        f"0.0 to c0.d0 and c0.d1: c0.cu → c0.d0, c0.d1, {model} for {whose}, after down 0",
        f"1.0 to c1.d0: c1.cu → c1.d0, {model} for pipeline 0 of cluster 1, after down 0",
    ]
    up = [each.pipelines for each in exchange.shipments if each.receivers == ("bs",)]
    assert len(up) == 3 == len(set(up))


@pytest.mark.parametrize(
    ("exchange", "settings", "paths"),
    [
        (None, {"exchange": "star", "formats": ["int8"]}, ["formats"]),
        ({}, {"exchange": "star", "formats": ["int8"]}, ["exchange", "formats"]),
        ({}, {}, []),
        (None, {"formats": ["int8"]}, []),
    ],
)
def test_settings_that_do_not_decide_the_exchange_are_warned_of(
    exchange: dict[str, Any] | None, settings: dict[str, Any], paths: list[str]
) -> None:
    scheme = {"name": "collapipe", "settings": settings}
    planning = Planning(studies.config(training=training(exchange), scheme=scheme))
    planning.scheme.plan(0, planning.observation())
    warnings = planning.scheme.explain(0, None)["warnings"]
    assert [each["path"] for each in warnings] == [f"scheme.settings.{path}" for path in paths]
    assert all("has no effect" in each["message"] for each in warnings)
