"""Segments of the encoder, the decision about devices, as arrays with a row for each cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collapipe_ns3.prediction.arrays import Ints, Mask


@dataclass(frozen=True)
class Segments:
    """Which devices hold how many blocks, in order, and how batches run through them.

    `order` (R, K) has node numbers, of which the first `size` (R,) are used; the rest are zero.
    `counts` (R, K) are the blocks on each. `one_f` (R,) marks pipelines under 1F1B, the others run
    GPipe.
    """

    order: Ints
    counts: Ints
    micro_batches: Ints
    one_f: Mask

    @property
    def size(self) -> Ints:
        """The number of devices in each pipeline, (R,)."""
        sizes: Ints = (self.counts > 0).sum(-1)
        return sizes

    def take(self, rows: Ints) -> Segments:
        """The segments of these rows."""
        return Segments(
            self.order[rows], self.counts[rows], self.micro_batches[rows], self.one_f[rows]
        )

    def put(self, rows: Mask, other: Segments) -> Segments:
        """These segments, with the marked rows replaced by those of `other`."""
        return Segments(
            np.where(rows[:, None], other.order, self.order),
            np.where(rows[:, None], other.counts, self.counts),
            np.where(rows, other.micro_batches, self.micro_batches),
            np.where(rows, other.one_f, self.one_f),
        )
