"""Three micro-batches through one device under 1F1B: the device takes B0 before F2.

Each hop takes 10 µs. The control unit takes 50 µs a computation, the device 100, the server 30.
"""

import lab

EXPECTED = """
 10 µs  bs → c0.cu model
 20 µs  c0.cu → c0.d0 model
 30 µs  c0.cu → bs labels
 40 µs  c0.cu → bs labels
 50 µs  c0.cu → bs labels
 70 µs  c0.cu F0
 80 µs  c0.cu → c0.d0 activation
120 µs  c0.cu F1
130 µs  c0.cu → c0.d0 activation
170 µs  c0.cu F2
180 µs  c0.cu → c0.d0 activation
180 µs  c0.d0 F0
190 µs  c0.d0 → c0.cu activation
200 µs  c0.cu → bs activation
230 µs  bs F0
260 µs  bs B0
270 µs  bs → c0.cu gradient
280 µs  c0.cu → c0.d0 gradient
280 µs  c0.d0 F1
290 µs  c0.d0 → c0.cu activation
300 µs  c0.cu → bs activation
330 µs  bs F1
360 µs  bs B1
370 µs  bs → c0.cu gradient
380 µs  c0.cu → c0.d0 gradient
380 µs  c0.d0 B0
390 µs  c0.d0 → c0.cu gradient
440 µs  c0.cu B0
480 µs  c0.d0 F2
490 µs  c0.d0 → c0.cu activation
500 µs  c0.cu → bs activation
530 µs  bs F2
560 µs  bs B2
570 µs  bs → c0.cu gradient
580 µs  c0.cu → c0.d0 gradient
580 µs  c0.d0 B1
590 µs  c0.d0 → c0.cu gradient
590 µs  bs step
640 µs  c0.cu B1
680 µs  c0.d0 B2
690 µs  c0.d0 → c0.cu gradient
740 µs  c0.cu B2
780 µs  c0.d0 step
790 µs  c0.cu step
800 µs  c0.d0 → c0.cu parameters
810 µs  c0.cu → bs parameters
840 µs  bs aggregate
"""


def test_the_round_reads_as_expected() -> None:
    outcome = lab.run_one(
        lab.one_cluster((4,), 3, "1f1b"),
        default=lab.Hop(rate_bps=1),
        busy_ns={"c0.cu": 50_000, "c0.d0": 100_000, "bs": 30_000},
    )
    assert lab.story(outcome) == EXPECTED.strip("\n").splitlines()
