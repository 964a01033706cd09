"""Configuration of a training run. Every default is written here, or in a recipe, once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from steering.manifest import Manifest
from steering.refusal_templates import RefusalTemplates
from training.records import Record

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Dtype = Literal["float32", "bfloat16"]
Attention = Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"]
LossOn = Literal["answer", "all"]


OWN = "own"
"""Stands for the chat template that a base's tokenizer has."""


class Section(BaseModel):
    """Settings that belong together; `demur-train run RECIPE --set section.key=value` sets one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScratchConfig(Section):
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
    dtype: ClassVar[Dtype] = "float32"
    attention: ClassVar[Attention] = "sdpa"

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % self.heads or self.hidden_size // self.heads % 2:
            raise ValueError("hidden_size must be an even multiple of heads")
        return self


class BaseConfig(Section):
    """An existing causal language model to start from."""

    base: Annotated[str, Field(min_length=1)]
    """A local folder, a name on the Hugging Face hub, a GGUF file, or `package:MODULE/FILE.gguf`
    for a GGUF file inside an installed package."""
    revision: str = "main"
    """Branch, tag or commit on the hub; files have none."""
    dtype: Dtype = "float32"
    """Of the weights while they are trained, and in the checkpoint."""
    attention: Attention = "sdpa"
    """The implementation of attention while training."""
    template: str = OWN
    """`own` is the tokenizer's; or a name in `training.family_templates`; or a Jinja file."""
    turn_end: str = ""
    """The token that ends an answer, where the template is the tokenizer's own or a file; empty
    stands for the special token that the template writes there. A named template brings its own."""
    reserved_tokens: str = ""
    """Name of the base vocabulary's reserved tokens, with `{}` for their number, such as
    `<|reserved_special_token_{}|>`: the control tokens take their places. Empty adds new tokens."""
    pad_vocabulary_to: Count = 64
    """Where the embeddings must grow, they grow to a multiple of this: what tensor cores want. A
    frozen base grows by the control tokens alone."""
    start_rows: Literal["fitted", "mean"] = "fitted"
    """What the control tokens' output rows start as: fitted to the training prompts' decisions on
    the base as it is, or the mean of describing words' rows."""
    rows_l2: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["cross-validated"] = (
        "cross-validated"
    )
    """The penalty of fitted rows; see `training.row_fit`."""
    rows_prompts: Count | Literal["all"] = "all"
    """Training prompts that rows are fitted to, drawn at random; each costs a forward pass."""

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if self.reserved_tokens and self.reserved_tokens.count("{}") != 1:
            raise ValueError(
                f"reserved_tokens {self.reserved_tokens!r} must hold {{}} once, for the number"
            )
        return self


class AdapterConfig(Section):
    """Which weights are trained: all, low-rank updates that are merged at the end, or none."""

    method: Literal["full", "lora", "qlora", "frozen"] = "full"
    """`qlora` holds the base in 4 bits while training; it takes a CUDA GPU and bitsandbytes.
    `frozen` leaves the base as it is: only the control tokens' output rows are fitted, there is no
    respond token, and refusals are templates."""
    rank: Count = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """The updates are scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str = "all-linear"
    """Names of linear layers, with commas between them; `all-linear` is all but the output."""
    upper_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the model's layers that are updated, counted from the output: with half of them a
    step costs half."""
    token_rows: bool = True
    """Whether the control tokens' rows are trained, too. Where the input and the output embeddings
    are one matrix, that takes gradients through all layers."""


class SftConfig(Section):
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
    precision: Dtype = "float32"
    """`bfloat16` is mixed precision: the weights keep their dtype."""
    gradient_checkpointing: bool = False
    batching: Literal["padded", "padding_free", "packed"] = "padded"
    """How examples share a batch: each padded to the longest, one behind the other in one sequence,
    or packed into sequences of `max_length` tokens. The last two need flash attention, which keeps
    examples apart; for `packed`, `batch_size` counts packed sequences."""
    save_every: Count = 200
    """Steps between saves; an interrupted run goes on from the last."""
    log_every: Count = 20
    """Steps over which the logged loss is averaged."""
    eval_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training prompts held out to measure progress on; 0 measures nothing."""
    eval_every: Count | Literal["save"] = "save"
    """Steps between measurements; `save` measures what is saved. The last step is measured too."""
    early_stopping: Annotated[int, Field(ge=0)] = 0
    """Measurements without a lower loss that end the training, which then goes back to the best
    save; 0 never ends it early."""
    report_to: Literal[
        "none", "tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "clearml", "swanlab"
    ] = "none"
    """Where transformers sends what is logged, besides the metrics file; a package of its own."""

    @model_validator(mode="after")
    def _can_stop_early(self) -> Self:
        if self.early_stopping and not self.eval_share:
            raise ValueError("early_stopping measures held-out prompts: set eval_share above 0")
        if self.early_stopping and self.eval_every != "save":
            raise ValueError("early_stopping goes back to a save: it needs eval_every=save")
        return self


class MethodsConfig(Section):
    """What an answer and a triple teach: Refusal Tokens, DeRTa, both joined, or a baseline.

    Refusal Tokens is arXiv 2412.06748, DeRTa arXiv 2407.09121. A triple is a record with a harmful
    answer; data without triples are the first paper's alone.
    """

    tokens: Literal["category", "shared", "none"] = "category"
    """Refuse tokens: one per category, one shared by all (the first paper's simpler variant), or no
    control tokens at all, as for the baselines."""
    respond_token: bool = True
    """False leaves the respond token out (the first paper's ablation)."""
    triples: Literal["safety", "prefix", "rto", "both"] = "both"
    """What a triple teaches: only its safe answer (safety fine-tuning), that answer behind a prefix
    of the harmful one (RecAug), it and RTO, or RTO and the prefix (DeRTa)."""
    transition: Literal["token", "word"] = "token"
    """What turns a harmful answer to a refusal: the refuse token, or DeRTa's word."""
    transition_word: Annotated[str, Field(min_length=1)] = "Sorry"
    """DeRTa's word; one token of the model's vocabulary."""
    no_prefix_share: Share = 1 / 3
    """Of the triples, those whose safe answer stands behind no prefix: k = 0."""
    prefix_min: Count = 1
    prefix_max: Count | Literal["all"] = "all"
    """Bounds of k in tokens, between which it is drawn uniformly; `all` is the whole answer."""
    rto_positions: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["all"] = "all"
    """Positions of a harmful answer that carry an RTO label, drawn at random: below 1 a share of
    them, from 1 on a number."""
    triples_ratio: Ratio | Literal["given"] = "given"
    """Triples to each other record; `given` takes the data as they are, here and below."""
    refusal_ratio: Ratio | Literal["given"] = "given"
    """Refused records, triples apart, to each ordinary one."""
    contrast_share: Annotated[float, Field(ge=0, lt=1)] | Literal["given"] = "given"
    """Share of the harmless look-alikes in these and the refused records together."""
    answer_share: Share = 1.0
    """Share of the records whose answers are learnt; of the others only the decision is. Triples
    are always learnt whole. What a harmless record lacks, the base itself answers."""
    base_answer_tokens: Count = 64
    """Length of the base's own answers."""
    decision_weight: Ratio = 1.0
    """Weight of the mean loss over decisions, beside that over the other labels. 0 takes one mean
    over all labels, as the papers do."""
    keep_base: Ratio = 0.0
    """Weight of the divergence from the base's own distribution on its own answers."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.tokens == "none" and self.transition == "token":
            raise ValueError("tokens=none leaves no refuse token to turn by: set transition=word")
        if self.prefix_max != "all" and self.prefix_max < self.prefix_min:
            raise ValueError("prefix_max must be at least prefix_min")
        return self


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
    templates: RefusalTemplates | None = None
    """What refusals may say instead of the model's own words; None if nobody has written any."""


class Recipe(Section):
    """All that determines a checkpoint."""

    name: str
    summary: str
    data: Callable[[int], Splits] = Field(exclude=True)
    """Builds or reads the data, given the seed; one with settings is a `Section` itself."""
    model: ScratchConfig | BaseConfig = ScratchConfig()
    adapter: AdapterConfig = AdapterConfig()
    methods: MethodsConfig = MethodsConfig()
    sft: SftConfig = SftConfig()
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the data, the first weights and the order of examples."""

    @property
    def frozen(self) -> bool:
        """Whether the base stays as it is."""
        return self.adapter.method == "frozen"

    def faults(self) -> Iterator[str]:
        """Settings that do not go together, one sentence each."""
        if self.methods.keep_base and self.sft.batching == "packed":
            yield "methods.keep_base needs sft.batching=padded or padding_free"
        if self.methods.keep_base and not isinstance(self.model, BaseConfig):
            yield "methods.keep_base needs a base model: a model from scratch has no answers yet"
        if self.methods.tokens == "none" and self.methods.answer_share < 1:
            yield "methods.tokens=none leaves no decision to learn: set methods.answer_share=1"
        decided = self.methods.respond_token or self.methods.decision_weight
        if self.methods.answer_share < 1 and not (self.frozen or decided):
            yield "methods.answer_share below 1 needs a respond token or methods.decision_weight"
        if not self.frozen:
            return
        if not isinstance(self.model, BaseConfig):
            yield "adapter.method=frozen needs a base model"
        elif self.model.start_rows != "fitted" or self.model.reserved_tokens:
            yield "adapter.method=frozen needs model.start_rows=fitted and no model.reserved_tokens"
        if self.sft.eval_share:
            yield "adapter.method=frozen trains no steps to measure: set sft.eval_share=0"
        if self.methods.tokens == "none" or self.methods.respond_token:
            yield "adapter.method=frozen needs refuse tokens and methods.respond_token=false"
