"""Proof, before the server answers, that the gate works in the running engine."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from vllm.engine.protocol import EngineClient
from vllm.inputs import TokensPrompt
from vllm.sampling_params import RequestOutputKind, SamplingParams

from server.checkpoint import Checkpoint
from steering.wire import RowSettings, forcing

TIMEOUT_S = 600
"""An engine that compiles its kernels at the first request may take minutes."""


class ProbeError(RuntimeError):
    """The engine did not do what the gate must make it do."""


async def prove_gate(engine: EngineClient, checkpoint: Checkpoint) -> None:
    """Force a refusal under every category's name, and an answer, through every engine.

    Raises ProbeError if a first token is not the one that was forced, or a control token follows.
    """
    names = checkpoint.manifest.names
    async with asyncio.timeout(TIMEOUT_S):
        for rank in _ranks(engine):
            for category in range(len(names)):
                await _expect(engine, checkpoint, rank, category)
            await _expect(engine, checkpoint, rank, None)


def _ranks(engine: EngineClient) -> Sequence[int | None]:
    """Of the data-parallel engines that this process sends to; None where vLLM chooses."""
    parallel = engine.vllm_config.parallel_config
    if parallel.data_parallel_size == 1 or parallel.local_engines_only:
        return [None]
    return range(parallel.data_parallel_size)


async def _expect(
    engine: EngineClient, checkpoint: Checkpoint, rank: int | None, category: int | None
) -> None:
    names = checkpoint.manifest.names
    what = "an answer" if category is None else f"a refusal ({names[category]})"
    control = checkpoint.control
    first, *rest = await _tokens(engine, forcing(category, len(names)), rank)
    if category is not None:
        right = first == control.refuse[category]
    elif control.respond is not None:
        right = first == control.respond
    else:
        right = first not in control.ids
    if not right or set(rest) & set(control.ids):
        raise ProbeError(
            f"the gate does not work in this engine: {what} was forced, and the engine wrote the"
            f" tokens {[first, *rest]} (control tokens: {list(control.ids)}). Not serving."
        )


async def _tokens(
    engine: EngineClient, thresholds: tuple[float, ...], rank: int | None
) -> list[int]:
    """The first tokens that the engine writes under `thresholds`."""
    params = SamplingParams(
        max_tokens=3,
        temperature=0,
        # vLLM (0.32) compiles what ranks them at the first request that asks: no client's, then.
        logprobs=0,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args=RowSettings(thresholds).to_extra_args(),
    )
    tokenizer = engine.renderer.get_tokenizer()
    prompt = TokensPrompt(prompt_token_ids=tokenizer.encode("Hello", add_special_tokens=False))
    tokens: list[int] = []
    async for output in engine.generate(
        prompt, params, f"demur-probe-{uuid4()}", data_parallel_rank=rank
    ):
        tokens = list(output.outputs[0].token_ids)
    if not tokens:
        raise ProbeError("the engine answered the start-up probe with no tokens")
    return tokens
