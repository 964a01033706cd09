"""Configuration of a training run. Every default is written here, or in a recipe, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from steering.manifest import Manifest
from training.records import Record

Count = Annotated[int, Field(ge=1)]
LossOn = Literal["answer", "all"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScratchConfig(_Section):
    """Sizes of a small Llama-architecture model that is trained from nothing."""

    vocab_size: Annotated[int, Field(ge=300)] = 4096
    """Tokens of the byte-level vocabulary, before the control tokens are added."""
    hidden_size: Count = 256
    intermediate_size: Count = 704
    layers: Count = 4
    heads: Count = 4
    max_positions: Count = 2048
    initializer_range: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation of the first weights."""
    tied_embeddings: bool = True
    """One matrix for the input and the output embeddings."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    """Of sampling where a request names none; kept in the checkpoint's generation settings."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % self.heads or self.hidden_size // self.heads % 2:
            raise ValueError("hidden_size must be an even multiple of heads")
        return self


class SftConfig(_Section):
    """Supervised fine-tuning: what the optimiser does, and how often it is saved."""

    epochs: Annotated[float, Field(gt=0)] = 3.0
    batch_size: Count = 32
    """Examples per device and forward pass."""
    gradient_accumulation: Count = 1
    """Forward passes per optimiser step."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps in which the learning rate rises to its full value."""
    adam_beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_length: Count = 1024
    """Tokens per example; longer answers lose their end, longer prompts are skipped."""
    loss_on: LossOn = "answer"
    """`all` learns the prompts' tokens too, which a model without pre-training profits from."""
    decision_copies: Annotated[int, Field(ge=0)] = 0
    """Extra examples of each refusal and each look-alike that end behind the control token: a small
    model learns to decide from them before it can write; a pre-trained one needs none."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` is mixed precision: the weights stay float32."""
    gradient_checkpointing: bool = False
    save_every: Count = 200
    """Steps between saves; an interrupted run goes on from the last."""
    log_every: Count = 20
    """Steps over which the logged loss is averaged."""


@dataclass(frozen=True)
class Splits:
    """The data of a run."""

    train: Sequence[Record]
    calibration: Sequence[Record]
    """Held-out prompts for demur-calibrate; may be empty."""
    test: Sequence[Record]
    """Held-out prompts for measuring; may be empty."""
    manifest: Manifest
    """The categories, in their order, and the control tokens."""


class Recipe(_Section):
    """All that determines a checkpoint."""

    name: str
    summary: str
    data: Callable[[int], Splits] = Field(exclude=True)
    """Builds or reads the data, given the seed."""
    model: ScratchConfig = ScratchConfig()
    sft: SftConfig = SftConfig()
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the data, the first weights and the order of examples."""
