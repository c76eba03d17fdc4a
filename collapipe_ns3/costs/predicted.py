"""The costs of the built-in models by closed forms. Importing this needs no torch.

Tests compare them with what `collapipe_ns3.costs.measured` measures. Shapes: u sequences in a
micro-batch, s source and t target tokens, width d, feed-forward size f, h heads. A multiply-add
counts as two FLOPs; element-wise work (norms, softmax, residuals, dropout) is not counted, since
torch's FLOP counter does not.

With dropout, PyTorch's attention on the CPU is not fused: it keeps scores and random masks, and
computes no scores again in the backward pass. Normalisation after each sub-layer costs as much as
normalisation before it, apart from the norms after the last blocks, which it lacks.
"""

from __future__ import annotations

from dataclasses import replace

from collapipe_ns3.costs.parts import NOTHING, Message, ModelCosts, PartCosts
from collapipe_ns3.costs.polynomial import SEQUENCES, TARGETS, TOKENS, ZERO, Polynomial
from collapipe_ns3.learning import architecture
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.learning.spec import ModelSpec

_TOKEN_BYTES = 8  # a token's number or a class (int64)
_ELEMENT_BYTES = 4  # fp32


def closed_form(
    spec: ModelSpec, longest: Lengths | None = None, *, local_head: bool = False
) -> ModelCosts:
    """The costs of a built-in model: embedding, encoder blocks, decoder or head with the loss.

    `longest` are the longest padded lengths of the task, by default the most that the model takes.
    The kept bytes are exact from two sequences of two tokens on, and an upper bound below, where
    some tensors need no copies.
    """
    # Between two parts travel the activation [u, s, d] and the padding mask [u, s] (bool).
    gradient = Message(SEQUENCES * TOKENS * spec.width, SEQUENCES * TOKENS)
    output = Message(gradient.elements, gradient.rows, SEQUENCES * TOKENS)
    labels = {"decoder": TARGETS, "token": TOKENS, "sequence": Polynomial.of({(0, 0, 0): 1})}
    targets = 1 if spec.head == "sequence" else spec.max_length
    return ModelCosts(
        first=_embedding(spec, output, gradient),
        blocks=(_encoder_block(spec, output, gradient),) * spec.encoder_blocks,
        last=_decoder(spec) if spec.head == "decoder" else _head(spec),
        labels=Message(other_bytes=SEQUENCES * labels[spec.head] * _TOKEN_BYTES),
        longest=longest or Lengths(spec.max_length, targets),
        local_head=_local_head(spec, output) if local_head else None,
    )


def _embedding(spec: ModelSpec, output: Message, gradient: Message) -> PartCosts:
    """The costs of the source embedding: a look-up without FLOPs; dropout keeps its mask."""
    size = architecture.embedding(spec)
    kept = SEQUENCES * TOKENS * (_ELEMENT_BYTES * spec.width) if spec.dropout else ZERO
    return PartCosts(ZERO, ZERO, kept, output, gradient, size.sizes)


def _encoder_block(spec: ModelSpec, output: Message, gradient: Message) -> PartCosts:
    """The costs of an encoder block.

    FLOPs per sequence: forward 8·s·d² + 4·s²·d + 4·s·d·f; backward twice that, plus 2·s²·d without
    dropout, since attention scores are not kept but computed again.
    Elements kept per token: 8·d (inputs of two sub-layers, before and after the norm or of the
    norm and after it; Q, K, V, attention output), f (hidden layer of the feed-forward), 4 (means
    and deviations of two norms), and
    - without dropout 2·h (log-sum of scores, padding mask);
    - with dropout 4·d (scaled Q and K, masks of two sub-layers), 2·f (mask and result of dropping
      from the hidden layer), 3·h·s (weights of attention, their mask, and the result).
    """
    d, f, h = spec.width, spec.feed_forward, spec.heads
    u, s = SEQUENCES, TOKENS
    size = architecture.encoder_block(d, f)
    linear = s * (8 * d * d + 4 * d * f)
    scores = s * s * (2 * d)  # two products of this size ahead
    kept = s * (8 * d + f + 4)
    kept += s * (4 * d + 2 * f) + s * s * (3 * h) if spec.dropout else s * (2 * h)
    return PartCosts(
        forward_flops=u * (linear + 2 * scores),
        backward_flops=u * (2 * linear + _backward_products(spec) * scores),
        kept_bytes=_ELEMENT_BYTES * u * kept,
        output=output,
        gradient=gradient,
        trained=size.sizes,
    )


def _backward_products(spec: ModelSpec) -> int:
    """Products of the size of an attention's scores in its backward pass."""
    return 4 if spec.dropout else 5


def _decoder(spec: ModelSpec) -> PartCosts:
    """The costs of the decoder and its loss on targets of t tokens, including BOS.

    There are n = t - 1 tokens to predict, and V words. Forward FLOPs per sequence and block:
    12·n·d² (Q, K, V, O of the target; Q and O of the cross-attention) + 4·s·d² (K and V of the
    encoder's output) + 4·n·d·f, and for scores 4·n²·d + 4·n·s·d; the output head takes 2·n·d·V.
    Backward as in `_encoder_block`.
    Elements kept per block: 12·d + f + 6 for a target token, 3·d for a source token, and
    - without dropout 2·h for a target token, h for a source token;
    - with dropout 5·d + 2·f for a target token, d for a source token, and 3·h for each pair of
      target tokens and of a target and a source token.
    In addition, once: d + V for a target token; with normalisation before each sub-layer d + 2 for
    a target token and for a source token; with dropout d for a target token (mask of the
    embedding); without dropout n² for the causal mask; and 1 for the loss's weight. A smoothed loss
    also keeps a byte for each prediction, which says whether it counts.
    """
    d, f, h, v = spec.width, spec.feed_forward, spec.heads, spec.target_vocabulary
    blocks, size = spec.decoder_blocks, architecture.decoder(spec)
    u, s, n = SEQUENCES, TOKENS, TARGETS - 1
    linear = blocks * (n * (12 * d * d + 4 * d * f) + s * (4 * d * d)) + n * (2 * d * v)
    pairs = n * n + n * s
    scores = pairs * (2 * d * blocks)
    kept = n * (blocks * (12 * d + f + 6) + d + v) + s * (blocks * 3 * d)
    if spec.norm == "pre":
        kept += (n + s) * (d + 2)
    if spec.dropout:
        kept += n * (blocks * (5 * d + 2 * f) + d) + s * (blocks * d) + pairs * (blocks * 3 * h)
    else:
        kept += n * (blocks * 2 * h) + s * (blocks * h)
    causal_mask = ZERO if spec.dropout else n * n
    return PartCosts(
        forward_flops=u * (linear + 2 * scores),
        backward_flops=u * (2 * linear + _backward_products(spec) * scores),
        kept_bytes=_ELEMENT_BYTES * (u * kept + causal_mask + 1) + _smoothing(spec, u * n),
        output=NOTHING,
        gradient=NOTHING,
        trained=size.sizes,
    )


def _smoothing(spec: ModelSpec, predictions: Polynomial) -> Polynomial:
    """The bytes that a loss with label smoothing keeps in addition."""
    return predictions if spec.label_smoothing else ZERO


def _head(spec: ModelSpec) -> PartCosts:
    """The costs of a classifier over C classes and its loss.

    It makes one prediction for each sequence or for each token, at 2·d·C FLOPs ahead and twice that
    back. Elements kept: d + C for each prediction, and d more with dropout; d + 2 for each token
    for the last norm, with normalisation before each sub-layer; 1 for the loss's weight; and for a
    smoothed loss a byte for each prediction, which says whether it counts. Without
    dropout, a classifier of first tokens keeps what these are taken from, which is d for each token
    and not for each prediction.
    """
    d, classes, size = spec.width, spec.classes, architecture.last(spec)
    u, s = SEQUENCES, TOKENS
    predictions = u * s if spec.head == "token" else u
    first = spec.head == "sequence" and spec.pooling == "first" and not spec.dropout
    kept = predictions * classes + (u * s if first else predictions) * d
    if spec.dropout:
        kept += predictions * d
    if spec.norm == "pre":
        kept += u * s * (d + 2)
    flops = predictions * (2 * d * classes)
    return PartCosts(
        forward_flops=flops,
        backward_flops=2 * flops,
        kept_bytes=_ELEMENT_BYTES * (kept + 1) + _smoothing(spec, predictions),
        output=NOTHING,
        gradient=NOTHING,
        trained=size.sizes,
    )


def _local_head(spec: ModelSpec, output: Message) -> PartCosts:
    """The costs of the local head and its loss; it sends on the output of the last block.

    It is a head with a norm and the mean as pooling, without dropout. For a decoder's target of t
    tokens, including BOS, the classes are V words: the loss has no weight and is not smoothed, and
    keeps a byte for each of the t - 1 predictions, which says whether it counts.
    """
    head = replace(
        spec,
        head="sequence" if spec.head == "decoder" else spec.head,
        classes=architecture.local_classes(spec),
        pooling="mean",
        norm="pre",
        dropout=0.0,
        label_smoothing=0.0 if spec.head == "decoder" else spec.label_smoothing,
    )
    costs, size = _head(head), architecture.local_head(spec)
    kept = costs.kept_bytes
    if spec.head == "decoder":
        kept = kept - _ELEMENT_BYTES + SEQUENCES * (TARGETS - 1)
    return replace(
        costs,
        kept_bytes=kept,
        output=output,
        trained=size.sizes,
    )
