"""How much memory training takes, estimated from sizes alone.

Per device, in bytes, with P parameters of which T are trained and Q are held in 4 bits, b bytes per
weight, b_t per trained weight, s processes among which the weights are sharded (1 without FSDP or
ZeRO-3), and a batch of N tokens:

    weights       ((P - T - Q) b + T b_t + Q 0.516) / s
    gradients     T b_t / s
    optimiser     2 T b_t / s        AdamW's two moments, in the dtype of the weights they belong to
    activations   N L (8 h + 4 i) b_a, or with gradient checkpointing N (L h + 8 h + 4 i) b_a
    logits        3 N V 4            logits, their softmax and its gradient in float32; nothing of
                                     note where TRL projects in tiles, as it does on accelerators

with L layers, hidden size h, MLP size i, vocabulary V and b_a bytes per activation. A layer keeps
for its backward pass about eight vectors of the hidden size (inputs of both norms and their
outputs, queries, keys and values, the attention's output) and four of the MLP's (gate, its
activation, up, their product); attention itself keeps nothing of quadratic size (SDPA,
FlashAttention). With checkpointing each layer keeps its input alone, and one layer at a time is
computed anew. The first three terms are exact but for Q; the others leave out buffers of the
libraries, fragmentation and the gathering of sharded layers: allow a quarter more.
"""

from dataclasses import dataclass

GIB = 2**30
QUANTIZED_BYTES = 0.516
"""Per weight in 4 bits: 0.5, and 0.127 bits for the constants (arXiv 2305.14314, sec. 3)."""


@dataclass(frozen=True)
class Sizes:
    """What the estimate needs to know of a model."""

    parameters: int
    trained: int
    quantized: int
    """Parameters held in 4 bits; none but for QLoRA."""
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    weights: float
    gradients: float
    optimiser: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.logits


def estimate(
    sizes: Sizes,
    *,
    weight_bytes: int,
    trained_bytes: int,
    activation_bytes: int,
    tokens: int,
    logit_tokens: int,
    checkpointing: bool,
    shards: int = 1,
) -> Memory:
    """The module's formula.

    tokens: N, a batch's sequences times the longest of them.
    logit_tokens: the N of the logits; 0 where they are computed in tiles.
    """
    trained = sizes.trained * trained_bytes
    frozen = sizes.parameters - sizes.trained - sizes.quantized
    held = frozen * weight_bytes + trained + sizes.quantized * QUANTIZED_BYTES
    one_layer = 8 * sizes.hidden + 4 * sizes.intermediate
    per_token = (
        sizes.layers * sizes.hidden + one_layer if checkpointing else sizes.layers * one_layer
    )
    return Memory(
        weights=held / shards,
        gradients=trained / shards,
        optimiser=2 * trained / shards,
        activations=tokens * per_token * activation_bytes,
        logits=3 * logit_tokens * sizes.vocabulary * 4,
    )
