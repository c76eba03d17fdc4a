"""VanillaFL: federated averaging of the whole model, without optimisation of resources."""

from __future__ import annotations

from collections.abc import Sequence

from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import Absence, ClusterPlan, LinkPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.prediction.memory import predict_whole_model
from collapipe_ns3.prediction.reach import reach, silent_links

_MIB = 2**20


class VanillaFL:
    """Federated averaging (McMahan et al., AISTATS 2017) over all devices that can hold the model.

    Every device trains the whole model, including embedding and decoder, on an equal share of each
    of its cluster's batches, as one micro-batch, and uploads the model through its control unit.
    Power and bandwidth are left to the radio: every node sends at its maximum power unless the
    study's `radio` says otherwise. A device without enough memory sits out, and the others take its
    share. The model is sent down and up once for each device. Where the study gives every scheme
    the same exchange (`training.exchange`), it is sent to each control unit once, or in one
    multicast to all of them, and each control unit sends its devices one multicast; trained models
    are still uploaded by each device.

    CollaPipe's paper names the baseline without defining it fully. This project's interpretation is
    that devices have their share of the data from the start, and that control units forward the
    models of their devices without averaging them.
    """

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The same plan every round."""
        heard = reach(observation, among_devices=False)
        clusters, absences = [], list(heard.absences)
        for number, devices in enumerate(heard.devices):
            able, unable = _by_memory(number, devices, observation)
            pipelines = tuple(_whole(device, len(able), observation) for device in able)
            clusters.append(ClusterPlan(number, pipelines))
            absences += unable
        links = _open_links(heard.devices)
        return RoundPlan(round, "vanilla_fl", tuple(clusters), links, tuple(absences))

    def sounding(self, observation: Observation) -> list[tuple[str, str]]:
        """The links over which nothing arrived when they were last measured."""
        return silent_links(observation)

    def learn(self, outcome: RoundOutcome) -> None:
        """Does nothing: the plan never changes."""


def _by_memory(
    cluster: int, devices: tuple[str, ...], observation: Observation
) -> tuple[list[str], list[Absence]]:
    """The devices with enough memory to train the model, and the absences of the others.

    When a device sits out, the shares of the others grow, so that further ones may lack memory.
    """
    able, absences = list(devices), []
    copies = observation.exchange.kept_copies(cluster) if observation.exchange else 0
    kept = copies * observation.model.parameter_bytes
    while able:
        sequences = -(-observation.batch_size // len(able))
        needed = predict_whole_model(observation, sequences) + kept
        has = {device: observation.profiles[device].memory_bytes for device in able}
        short = [device for device in able if has[device] < needed]
        if not short:
            break
        for device in short:
            able.remove(device)
            reason = (
                f"the whole model needs {needed / _MIB:.1f} MiB and it has "
                f"{has[device] / _MIB:.1f} MiB"
            )
            absences.append(Absence(cluster, device, reason))
    return able, absences


def _whole(device: str, devices: int, observation: Observation) -> Pipeline:
    every = (Stage(device, 0, observation.model.encoder_blocks - 1),)
    return Pipeline(every, 1, "gpipe", 1 / devices, embedding=device, decoder=device)


def _open_links(clusters: Sequence[tuple[str, ...]]) -> tuple[LinkPlan, ...]:
    """The links between every device and the base station, without a power and a bandwidth."""
    links = []
    for number, devices in enumerate(clusters):
        if not devices:
            continue
        control = control_unit(number)
        pairs = [(SERVER, control), (control, SERVER)]
        pairs += [pair for d in devices for pair in ((control, d), (d, control))]
        links += [LinkPlan(a, b) for a, b in pairs]
    return tuple(links)
