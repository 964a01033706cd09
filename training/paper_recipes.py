"""Recipes that fine-tune pretrained models, with where each of their numbers comes from.

*Paper* marks what Refusal Tokens (arXiv 2412.06748) or DeRTa (arXiv 2407.09121) say, *authors'
script* what the DeRTa authors' published `train.sh` and `lora_config.json` set, and *ours* what we
chose. Batches are given for one process: with n processes divide `sft.gradient_accumulation` by n.

The data are sources of records, which the user names: `--set data.train=FILE.jsonl`, and likewise
`data.calibration` and `data.test`.
"""

from training.categories import COCONOT
from training.config import AdapterConfig, BaseConfig, MethodsConfig, Recipe, SftConfig
from training.data_sources import DataSources

LLAMA3_8B = BaseConfig(
    base="meta-llama/Meta-Llama-3-8B",
    template="llama3",
    reserved_tokens="<|reserved_special_token_{}|>",
)
"""Paper (both): the base model. Ours: Llama 3's own chat template, and its reserved tokens, so that
the embeddings keep their size."""


def llama3_8b_refusal() -> Recipe:
    """Refusal Tokens on Llama 3 8B, all weights trained.

    Paper: the base model; instruction data (UltraChat or Alpaca) with CoCoNot's refusals and
    contrast prompts; a respond token and a refuse token for each of CoCoNot's five categories.
    Ours: every number. The optimiser's are those of `llama3_8b_derta` where the paper's could not
    be checked; one epoch more and longer examples, for UltraChat's conversations.
    """
    return Recipe(
        name="llama3-8b-refusal",
        summary="Refusal Tokens on Llama 3 8B, all weights trained",
        data=DataSources(categories=COCONOT),
        model=LLAMA3_8B,
        sft=SftConfig(
            epochs=3,
            batch_size=4,
            gradient_accumulation=32,
            learning_rate=2e-5,
            max_length=2048,
            precision="bfloat16",
            gradient_checkpointing=True,
        ),
    )


def llama3_8b_refusal_lora() -> Recipe:
    """Refusal Tokens on Llama 3 8B by low-rank updates: 22 GiB by the dry run's estimate.

    Paper: as `llama3_8b_refusal`; it has no such run that we know of.
    Authors' script (DeRTa's, for Llama 3 70B): rank 96, alpha 16, dropout 0.05 on all linear layers
    of attention and MLP; learning rate 1e-4 without warm-up or weight decay, 128 examples per step,
    2 epochs.
    Ours: the weights in bfloat16, the length.
    """
    return llama3_8b_refusal().model_copy(
        update={
            "name": "llama3-8b-refusal-lora",
            "summary": "Refusal Tokens on Llama 3 8B by low-rank updates",
            "model": LLAMA3_8B.model_copy(update={"dtype": "bfloat16"}),
            "adapter": AdapterConfig(method="lora", rank=96, alpha=16, dropout=0.05),
            "sft": SftConfig(
                epochs=2,
                batch_size=4,
                gradient_accumulation=32,
                learning_rate=1e-4,
                warmup=0.0,
                max_length=2048,
                precision="bfloat16",
                gradient_checkpointing=True,
            ),
        }
    )


def llama3_8b_derta() -> Recipe:
    """DeRTa on Llama 3 8B, all weights trained: triples teach to turn inside an answer.

    Authors' script: learning rate 2e-5 with cosine decay and 3 % warm-up, weight decay 2e-5, 128
    examples per step, 2 epochs, 1024 tokens, bfloat16, gradient checkpointing, seed 1.
    Paper: safety data in one category, from BeaverTails' harmful answers, mixed with instruction
    data; of each triple a prefix example and RTO; the word "Sorry" to turn by.
    Authors' code: no prefix for a third of the triples, RTO at about one position in twenty, one
    mean over all labels (`methods.decision_weight=0`).
    Ours: the chat template, and control tokens at the answer's beginning, so that it can be served
    (`methods.tokens=none` leaves them out; `methods.transition=token` turns by the refuse token
    too, and earns the scope of every token).
    """
    return Recipe(
        name="llama3-8b-derta",
        summary="DeRTa on Llama 3 8B, all weights trained; its data hold triples",
        data=DataSources(categories=("safety",)),
        model=LLAMA3_8B,
        methods=MethodsConfig(
            triples="both",
            transition="word",
            transition_word="Sorry",
            no_prefix_share=1 / 3,
            rto_positions=0.05,
            # The authors' script has one loss for all labels: the transition's word is one of them.
            decision_weight=0.0,
        ),
        sft=SftConfig(
            epochs=2,
            batch_size=4,
            gradient_accumulation=32,
            learning_rate=2e-5,
            schedule="cosine",
            warmup=0.03,
            weight_decay=2e-5,
            max_length=1024,
            precision="bfloat16",
            gradient_checkpointing=True,
        ),
        seed=1,
    )


def mistral_7b_refusal() -> Recipe:
    """Refusal Tokens on Mistral 7B, all weights trained.

    Ours, all of it: as `llama3_8b_refusal`, with half the learning rate, since Mistral's weights
    are the more easily disturbed; new tokens, since its reserved ones differ between releases.
    """
    recipe = llama3_8b_refusal()
    return recipe.model_copy(
        update={
            "name": "mistral-7b-refusal",
            "summary": "Refusal Tokens on Mistral 7B, all weights trained",
            "model": BaseConfig(base="mistralai/Mistral-7B-v0.3", template="mistral"),
            "sft": recipe.sft.model_copy(update={"learning_rate": 1e-5}),
        }
    )


def qwen3_8b_refusal() -> Recipe:
    """Refusal Tokens on Qwen3 8B, all weights trained.

    Ours, all of it: as `llama3_8b_refusal`. ChatML without a thinking part; the control tokens are
    new, and find room in the rows that Qwen's embeddings have to spare.
    """
    return llama3_8b_refusal().model_copy(
        update={
            "name": "qwen3-8b-refusal",
            "summary": "Refusal Tokens on Qwen3 8B, all weights trained",
            "model": BaseConfig(base="Qwen/Qwen3-8B-Base", template="chatml"),
        }
    )
