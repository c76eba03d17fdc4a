"""What all tests share."""

import os
import signal

import pytest
from hypothesis import settings

# Sums are formed in another order by more threads, and bit-equality is what many tests are about;
# set before torch is imported, which reads it then.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Wall times on a busy machine say nothing about the code, and a check should repeat.
# `--hypothesis-profile many` asks for ten times as many examples where a test gives no number.
settings.register_profile("project", deadline=None, derandomize=True)
settings.register_profile("many", settings.get_profile("project"), max_examples=1000)
settings.load_profile("project")

# Where tests are started in a shell's background Ctrl-C is ignored, and what it does is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses names with addresses, which differ between the processes that share the tests."""
    if wrong := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"expected ids without addresses: {wrong[0]}")
