"""vLLM's worker on a CPU, where prompts of requests with a seed may be read in pieces.

Behind every piece but the last vLLM (0.32) samples, throws the token away, and turns the request's
random generator back, by a method that no generator on a CPU has: it ends the engine. Here such a
request's generator is out of reach until then, so there is nothing to turn back.
"""

from typing import TYPE_CHECKING

from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput
from vllm.v1.worker.cpu_worker import CPUWorker

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import GrammarOutput


class Worker(CPUWorker):
    """For Model Runner V1, whose batch has a generator for each request with a seed."""

    def sample_tokens(
        self, grammar_output: "GrammarOutput | None"
    ) -> ModelRunnerOutput | AsyncModelRunnerOutput:
        """Sample as vLLM does, but leave generators alone while a prompt is not complete."""
        generators = self.model_runner.input_batch.generators
        incomplete = self.model_runner.discard_request_mask.np
        kept = {row: generators.pop(row) for row in list(generators) if incomplete[row]}
        try:
            output: ModelRunnerOutput | AsyncModelRunnerOutput
            output = super().sample_tokens(grammar_output)
        finally:
            generators.update(kept)
        return output
