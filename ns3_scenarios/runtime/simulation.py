"""Between two simulations in one process: everything back to the start."""

from __future__ import annotations

from ns3_scenarios.runtime.loader import load

SEED_LIMIT = 2**32  # ns-3 keeps its seed in 32 bits and takes 0 for none


def reset(seed: int, run: int) -> None:
    """Ends any simulation and makes ready for the next, as if the process were new.

    Call it before building, with every container and object of the last simulation dropped.
    `seed` is 1 … 2³²-1 and `run` 0 … 2⁶⁴-1; `ValueError` else.
    """
    if not 0 < seed < SEED_LIMIT:
        raise ValueError(f"seed: expected 1 to {SEED_LIMIT - 1}, not {seed}")
    if not 0 <= run < 2**64:
        raise ValueError(f"run: expected 0 to {2**64 - 1}, not {run}")
    ns = load()
    ns.Simulator.Destroy()
    ns.Config.Reset()  # the defaults that were set live on otherwise
    ns.RngSeedManager.SetSeed(seed)
    ns.RngSeedManager.SetRun(run)
    # Without this the streams number on from the last simulation's, and runs don't repeat.
    ns.RngSeedManager.ResetNextStreamIndex()
    ns.Ipv4AddressGenerator.Reset()
    ns.Mac48Address.ResetAllocationIndex()
