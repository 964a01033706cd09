"""How a request meets the gate: vLLM's own server with a dial for refusals."""
