"""Imported by the fork server, so that its processes have ns-3, torch and this package loaded.

Ctrl-C ends such a process without a message: the process that started it prints one for all.
"""

import contextlib
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

import torch  # noqa: E402  # it takes seconds, in which Ctrl-C may be pressed
import torch._dynamo  # noqa: E402  # else the first optimizer imports it, a second in each process

from collapipe_ns3.run import code_identity, runner  # noqa: E402  # loads torch
from ns3_scenarios import runtime  # noqa: E402  # as torch, after Ctrl-C is set

torch.set_num_threads(1)
code_identity.of_plug_ins({})  # the code as loaded here; the files may change while runs execute
# An error here would end the server without a message; each run meets it again and reports it.
with contextlib.suppress(Exception):
    runtime.native()

__all__ = ["runner"]
