"""Resets, seeds and errors of simulations in one process."""

from collections.abc import Callable

import pytest

from ns3_scenarios import runtime
from ns3_scenarios.runtime import SimulationError
from ns3_scenarios.runtime.loader import interpreter


def draws(seed: int, run: int) -> list[float]:
    """A few random numbers of streams that ns-3 has numbered."""
    runtime.reset(seed, run)
    variables = [runtime.make("ns3::UniformRandomVariable") for _ in range(3)]
    return [variable.GetValue() for variable in variables for _ in range(2)]


def test_the_same_seed_and_run_repeat_and_others_differ() -> None:
    first = draws(seed=1, run=1)
    assert draws(seed=1, run=1) == first
    assert draws(seed=1, run=2) != first
    assert draws(seed=2, run=1) != first
    assert draws(seed=1, run=1) == first


def test_time_nodes_and_addresses_start_over() -> None:
    ns = runtime.load()
    seen = []
    for _ in range(2):
        runtime.reset(seed=1, run=1)
        seen.append(
            (
                ns.Simulator.Now().GetNanoSeconds(),
                ns.CreateObject[ns.Node]().GetId(),
                str(ns.Mac48Address.Allocate()),
                ns.Ipv4AddressGenerator.NextNetwork(ns.Ipv4Mask("255.255.255.0")).Get(),
            )
        )
        ns.Simulator.Stop(ns.Seconds(1))
        ns.Simulator.Run()
    assert seen[0] == seen[1]
    assert seen[0][:2] == (0, 0)


@pytest.mark.parametrize(("seed", "run"), [(0, 1), (-1, 1), (2**32, 1), (1, -1), (1, 2**64)])
def test_a_seed_that_ns3_would_not_take_is_refused(seed: int, run: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        runtime.reset(seed, run)


def test_what_cpp_throws_is_a_simulation_error() -> None:
    with (
        pytest.raises(SimulationError, match=r"^asking: no type ns3::Nope$"),
        runtime.simulation_errors("asking"),
    ):
        runtime.native().DescribeAttributes("ns3::Nope")


def test_python_errors_pass_through() -> None:
    with pytest.raises(KeyError), runtime.simulation_errors("asking"):
        raise KeyError("mine")


def fatal() -> None:
    runtime.set_default("ns3::LteEnbRrc::SrsPeriodicity", 77)  # in range, and still wrong
    runtime.make("ns3::LteEnbRrc")


def crash() -> None:
    interpreter().cppexec("*(volatile int*)8 = 1;")


def fail() -> None:
    raise ValueError("mine")


def hang() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (fatal, "building: illecit SRS periodicity value 77. Allowed values: 2 5 10"),
        (crash, "building: "),
        (fail, "building: mine"),
        (hang, "building: not done after 0.5 s"),
    ],
)
def test_a_rehearsal_dies_in_place_of_the_process(action: Callable[[], None], said: str) -> None:
    runtime.reset(seed=1, run=1)
    with pytest.raises(SimulationError) as caught:
        runtime.rehearse(action, "building", limit_s=0.5 if action is hang else 60)
    assert str(caught.value).startswith(said)


def test_a_rehearsal_that_goes_well_leaves_no_trace(capfd: pytest.CaptureFixture[str]) -> None:
    runtime.reset(seed=1, run=1)
    ns = runtime.load()
    runtime.rehearse(lambda: print(ns.CreateObject[ns.Node]().GetId()), "building")
    assert ns.NodeList.GetNNodes() == 0
    assert capfd.readouterr() == ("", "")
