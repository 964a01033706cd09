"""Start vLLM's server with the gate in its engine and our routes in its front end."""

import argparse
import os
import shutil
from collections.abc import Sequence
from copy import deepcopy
from importlib.metadata import entry_points
from pathlib import Path

from vllm import AsyncEngineArgs, envs
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
from vllm.logger import configure_logging_from_args, init_logger
from vllm.platforms import current_platform
from vllm.triton_utils import HAS_TRITON
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.utils.torch_utils import STR_DTYPE_TO_TORCH_DTYPE

from server import bodies, cors, drain, engine_death, hangup, keys, reasoning, request_log, routes
from server.checkpoint import Checkpoint
from server.flags import add_flags
from server.operator_file import OperatorFileError
from server.operator_policy import LivePolicy, OperatorPolicy, api_keys
from server.refusal_texts import RefusalTexts
from server.routes import PLUGIN
from steering.policy import Policy
from steering.wire import CONFIG_KEY

ENDPOINT_GROUP = "vllm.endpoint_plugins"
OTHER_GROUPS = (
    "vllm.general_plugins",
    "vllm.io_processor_plugins",
    "vllm.platform_plugins",
    "vllm.stat_logger_plugins",
)
PROCESSOR_GROUP = "vllm.logits_processors"
GATE_V1 = "steering.v1:RefusalGate"
GATE_V2 = "steering.v2:RefusalGate"
CPU_WORKER = "server.cpu_worker.Worker"

GUARDS = (bodies.GUARD, drain.GUARD, keys.GUARD)
OUTER_GUARDS = (cors.GUARD, routes.GUARD)
"""Middleware of ours; a request meets the last one first. The request log stands between."""

logger = init_logger("vllm.demur.launch")


class LaunchError(Exception):
    """The server cannot be started; the message says why and what to do."""


def serve(arguments: Sequence[str]) -> None:
    """Serve until stopped. `arguments`: the checkpoint's folder and any flags of `vllm serve`.

    Raises LaunchError before anything is started if the checkpoint cannot be served, and
    EngineDeathError when serving has ended because the engine died.
    """
    cli_env_setup()  # type: ignore[no-untyped-call]
    args = parse(arguments)
    checkpoint = load_checkpoint(args.model)
    default = load_policy(args, checkpoint).everybody
    check_texts(args, checkpoint)
    if hangup.is_asked_for(args):
        hangup.watch()
    else:
        hangup.release()
    gate = gate_for(args)
    put_gate_in(args, checkpoint, default, gate)
    put_cpu_worker_in(args, gate)
    name_plugin()
    configure_logging_from_args(args)
    compile_nothing_in_vain(eager=args.enforce_eager)
    logger.info(
        "%s: categories %s; %s; gate %s",
        checkpoint.path,
        ", ".join(checkpoint.manifest.names),
        "calibrated" if checkpoint.policy.calibrated else "not calibrated: thresholds only",
        gate,
    )
    ServeSubcommand.cmd(args)
    engine_death.check()


def compile_nothing_in_vain(*, eager: bool) -> None:
    """Keep vLLM (0.32) on a CPU from compiling what ranks logprobs, where nothing else is compiled.

    eager: whether --enforce-eager was given. vLLM compiles this even then, which holds up every
    request for ten seconds or more; without a compiler, it would end the engine.
    """
    if not current_platform.is_cpu():
        return
    compiler = os.environ.get("CXX", "g++")
    if eager:
        logger.info("--enforce-eager: nothing is compiled")
    elif shutil.which(compiler) is None:
        logger.info("There is no C++ compiler (%s): nothing is compiled", compiler)
    else:
        return
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse with vLLM's own parser: every flag of `vllm serve` keeps working."""
    parser = make_arg_parser(
        FlexibleArgumentParser(  # type: ignore[no-untyped-call]
            prog="demur-serve", usage="demur-serve CHECKPOINT [options]"
        )
    )
    ours = parser.add_argument_group(  # type: ignore[no-untyped-call]
        "demur", "Demur's own flags."
    )
    add_flags(ours.add_argument)
    parser.set_defaults(shutdown_timeout=drain.DRAIN_S)
    args: argparse.Namespace = parser.parse_args(list(arguments))
    if args.model_tag is None:
        raise LaunchError("name the checkpoint's folder first: demur-serve CHECKPOINT [options]")
    args.model = args.model_tag
    validate_parsed_serve_args(args)
    _check_request_log(args.request_log)
    return args


def _check_request_log(path: Path | None) -> None:
    try:
        if path is not None:
            request_log.handler_for(path).close()
    except OSError as error:
        raise LaunchError(f"--request-log {path} cannot be written: {error}") from error


def load_checkpoint(model: str) -> Checkpoint:
    """Load the checkpoint in the folder `model`, or raise LaunchError."""
    path = Path(model)
    if not path.is_dir():
        raise LaunchError(f"{model} is not a folder; demur-serve needs a checkpoint on disk")
    try:
        return Checkpoint.load(path)
    except (ValueError, OSError) as error:
        raise LaunchError(str(error)) from error


def load_policy(args: argparse.Namespace, checkpoint: Checkpoint) -> OperatorPolicy:
    """The operator's policy, or LaunchError."""
    try:
        return LivePolicy(checkpoint, args.refusal_policy, api_keys(args)).current
    except OperatorFileError as error:
        raise LaunchError(str(error)) from error


def check_texts(args: argparse.Namespace, checkpoint: Checkpoint) -> None:
    """Raise LaunchError unless refusals can have the words that the operator asks for."""
    try:
        RefusalTexts.of_server(args, checkpoint.manifest)
    except OperatorFileError as error:
        raise LaunchError(str(error)) from error


def gate_for(args: argparse.Namespace) -> str:
    """The adapter that vLLM's engine will load: its two samplers reject each other's.

    Which sampler runs depends on the whole configuration, except where V2 cannot run at all: on the
    CPU, for example, which has no Triton. (vLLM 0.32)
    """
    if not HAS_TRITON:
        return GATE_V1
    engine_args = AsyncEngineArgs.from_cli_args(deepcopy(args))
    config = engine_args.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
    return GATE_V2 if config.use_v2_model_runner else GATE_V1


def put_gate_in(
    args: argparse.Namespace, checkpoint: Checkpoint, default: Policy, gate: str = GATE_V1
) -> None:
    """Add the logits processor and what it needs to know to vLLM's own arguments."""
    additional = dict(args.additional_config or {})
    _check_gate_fits(args, gate)
    if CONFIG_KEY in additional:
        raise LaunchError(f"--additional-config: {CONFIG_KEY!r} is set by demur-serve itself")
    args.additional_config = additional | checkpoint.gate_config(default).to_additional_config()
    if args.max_logprobs != -1:
        # Clients keep the limit that they were given: control tokens are taken out of their lists.
        args.max_logprobs += len(checkpoint.control.ids)
    args.logits_processors = [*(args.logits_processors or []), gate]
    log = [] if args.request_log is None else [request_log.GUARD]
    args.middleware = [*args.middleware, *GUARDS, *log, *OUTER_GUARDS]
    put_grammars_behind_gate(args, checkpoint)
    calibration = checkpoint.manifest.calibration
    if calibration is None:
        return
    if args.dtype == "auto":
        args.dtype = calibration.dtype
    elif STR_DTYPE_TO_TORCH_DTYPE.get(args.dtype) != STR_DTYPE_TO_TORCH_DTYPE[calibration.dtype]:
        logger.warning(
            "serving in %s, but calibrated in %s: refusal rates will be off near their thresholds",
            args.dtype,
            calibration.dtype,
        )


def put_cpu_worker_in(args: argparse.Namespace, gate: str) -> None:
    """On a CPU, a prompt with a seed that is read in pieces would end vLLM's own worker (0.32).

    An operator's own worker stays. Model Runner V2 has no such generators.
    """
    if current_platform.is_cpu() and gate == GATE_V1 and args.worker_cls == "auto":
        args.worker_cls = CPU_WORKER


def _check_gate_fits(args: argparse.Namespace, gate: str) -> None:
    if getattr(args, "grpc", False) or envs.VLLM_USE_RUST_FRONTEND:
        raise LaunchError("vLLM's gRPC server and Rust front end do not load the gate's routes")
    if args.speculative_config and gate == GATE_V1:
        raise LaunchError(
            "--speculative-config: vLLM's V1 sampler runs no custom processor, and so no gate, with"
            " speculative decoding; Model Runner V2 (GPUs) does"
        )
    installed = [point.value for point in entry_points(group=PROCESSOR_GROUP)]
    for name in (*map(str, args.logits_processors or ()), *installed):
        if name in (GATE_V1, GATE_V2):
            raise LaunchError(
                f"{name} would be loaded twice: demur-serve loads it by itself; take it out of"
                f" --logits-processors, or of the entry points {PROCESSOR_GROUP}"
            )


def put_grammars_behind_gate(args: argparse.Namespace, checkpoint: Checkpoint) -> None:
    """Let grammars start after the respond token; remember the operator's reasoning parser.

    Without a respond token all stays as the operator has it: a request with a grammar is decided
    before its answer (`ChatRequest.is_decided_ahead`).
    """
    args.demur_reasoning_parser = args.reasoning_parser or None
    respond = checkpoint.control.respond
    if respond is None:
        return
    if args.structured_outputs_config.enable_in_reasoning:
        raise LaunchError(
            "--structured-outputs-config enable_in_reasoning would let grammars mask the refuse"
            " tokens: leave it out"
        )
    reasoning.configure(respond, args.demur_reasoning_parser, args.reasoning_parser_plugin)
    args.reasoning_parser = reasoning.NAME
    args.reasoning_parser_plugin = reasoning.PLUGIN


def name_plugin() -> None:
    """Let vLLM load our routes: an endpoint plugin loads only when VLLM_PLUGINS names it.

    VLLM_PLUGINS also filters vLLM's other plugin groups, which load whole while it is not set: so
    it is extended with what would have loaded, never replaced. (vLLM 0.32)
    """
    endpoint = entry_points(group=ENDPOINT_GROUP, name=PLUGIN)
    if not endpoint:
        raise LaunchError(
            f"the entry point {PLUGIN!r} of {ENDPOINT_GROUP} is not installed: install demur"
            " itself (pip install -e .), not only its folders"
        )
    allowed = os.environ.get("VLLM_PLUGINS")
    if allowed is None:
        names = [point.name for group in OTHER_GROUPS for point in entry_points(group=group)]
    else:
        names = [name for name in allowed.split(",") if name]
    os.environ["VLLM_PLUGINS"] = ",".join(dict.fromkeys([*names, PLUGIN]))
