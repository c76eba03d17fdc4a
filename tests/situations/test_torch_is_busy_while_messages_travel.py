"""Torch is busy with one pipeline while another's messages travel: the network is not held up."""

import threading

import lab
import torch

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork
from bridge.loop import simulated_loop
from collapipe_ns3.engine.air import Air, Message
from collapipe_ns3.schedule import Action, ActionKind

PATIENCE_S = 20.0
SENT = (torch.linspace(-1, 1, 12).view(3, 4), torch.zeros(3, dtype=torch.bool))


def test_a_message_arrives_while_torch_is_at_something_else() -> None:
    network = FixedRateNetwork(["d0", "d1"], lab.FAST)
    has_arrived = threading.Event()

    async def episode(thread: TorchThread) -> tuple[Message, bool, int]:
        busy = thread.later(lambda: has_arrived.wait(PATIENCE_S))  # as another cluster's forward
        await network.transfer("d0", "d1", 1000)
        air = Air("int8", seed=1)
        message = air.arrived(
            Message.of(SENT), (), Action(0, ActionKind.SEND_ACTIVATION, 0), thread
        )
        now_ns = simulated_loop().now_ns()
        has_arrived.set()
        return message, busy.result(), now_ns

    with TorchThread() as thread:
        message, was_free, now_ns = simulated.run(network, episode(thread))
        tensors = thread.now(message.tensors)
    assert was_free  # the loop did not wait for torch, or torch would have waited for the loop
    assert now_ns == 1000
    torch.testing.assert_close(tensors[0], SENT[0], atol=1 / 127, rtol=0)
