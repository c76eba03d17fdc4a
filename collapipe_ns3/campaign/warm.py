"""Imported by a fork server: whatever it forks has ns-3, torch and this package loaded.

Ctrl-C ends such a process without a word: the process that started it speaks for all.
"""

import contextlib
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

import torch  # noqa: E402  # it takes seconds, in which Ctrl-C may be pressed
import torch._dynamo  # noqa: E402  # as the first optimizer does, in a second of each process

from collapipe_ns3.run import code_identity, runner  # noqa: E402
from ns3_scenarios import runtime  # noqa: E402

torch.set_num_threads(1)
code_identity.of_plug_ins({})  # of what is loaded here; the files may change while cells run
# What goes wrong here would end the server without a word; in a cell it is told.
with contextlib.suppress(Exception):
    runtime.native()

__all__ = ["runner"]
