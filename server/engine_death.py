"""Whether the engine died: vLLM (0.32) then stops serving, but exits as if it had been asked to."""

from vllm.engine.protocol import EngineClient

from server import drain

_engines: list[EngineClient] = []
"""Of this process; with several API servers each has its own, and vLLM's parent raises."""


class EngineDeathError(Exception):
    """The server has ended because its engine did."""


def watch(engine: EngineClient) -> None:
    """Remember the engine that this process serves from."""
    _engines.append(engine)


def check() -> None:
    """Raise EngineDeathError if an engine of this process died by itself.

    Ctrl-C in a terminal goes to the engine, too, which then is no failure.
    """
    if not drain.stopping() and any(engine.errored for engine in _engines):
        raise EngineDeathError("the engine died and the server with it; the log above says more")
