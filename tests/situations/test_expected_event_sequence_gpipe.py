"""Two micro-batches through one device under GPipe: all forwards, then all backwards.

Each hop takes 10 µs. The control unit takes 50 µs a computation, the device 100, the server 30.
"""

import lab

EXPECTED = """
 10 µs  bs → c0.cu model
 20 µs  c0.cu → c0.d0 model
 30 µs  c0.cu → bs labels
 40 µs  c0.cu → bs labels
 70 µs  c0.cu F0
 80 µs  c0.cu → c0.d0 activation
120 µs  c0.cu F1
130 µs  c0.cu → c0.d0 activation
180 µs  c0.d0 F0
190 µs  c0.d0 → c0.cu activation
200 µs  c0.cu → bs activation
230 µs  bs F0
280 µs  c0.d0 F1
290 µs  c0.d0 → c0.cu activation
300 µs  c0.cu → bs activation
330 µs  bs F1
360 µs  bs B0
370 µs  bs → c0.cu gradient
380 µs  c0.cu → c0.d0 gradient
390 µs  bs B1
400 µs  bs → c0.cu gradient
410 µs  c0.cu → c0.d0 gradient
420 µs  bs step
480 µs  c0.d0 B0
490 µs  c0.d0 → c0.cu gradient
540 µs  c0.cu B0
580 µs  c0.d0 B1
590 µs  c0.d0 → c0.cu gradient
640 µs  c0.cu B1
680 µs  c0.d0 step
690 µs  c0.cu step
700 µs  c0.d0 → c0.cu parameters
710 µs  c0.cu → bs parameters
740 µs  bs aggregate
"""


def test_the_round_reads_as_expected() -> None:
    outcome = lab.run_one(
        lab.one_cluster((4,), 2, "gpipe"),
        default=lab.Hop(rate_bps=1),
        busy_ns={"c0.cu": 50_000, "c0.d0": 100_000, "bs": 30_000},
    )
    assert lab.story(outcome) == EXPECTED.strip("\n").splitlines()
