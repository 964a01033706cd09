import json
import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server import cli, hangup, reasoning, request_log, routes
from server.announce import banner
from server.checkpoint import Checkpoint
from server.flags import SPARING, Sample
from server.launch import (
    CPU_WORKER,
    GATE_V1,
    GATE_V2,
    GUARDS,
    OUTER_GUARDS,
    LaunchError,
    check_texts,
    compile_nothing_in_vain,
    gate_for,
    load_checkpoint,
    name_plugin,
    parse,
    put_cpu_worker_in,
    put_gate_in,
)
from steering.policy import Policy
from steering.tokens import ControlTokens
from tests.server.conftest import TEMPLATES


def arguments(**changes: Any) -> Namespace:
    plain: dict[str, Any] = {
        "additional_config": {},
        "logits_processors": None,
        "speculative_config": None,
        "max_logprobs": 20,
        "dtype": "auto",
        "host": None,
        "port": 8000,
        "uds": None,
        "ssl_certfile": None,
        "model": "demo",
        "served_model_name": ["demur-demo"],
        "middleware": [],
        "request_log": None,
        "playground": True,
        "reasoning_parser": "",
        "reasoning_parser_plugin": None,
        "structured_outputs_config": Namespace(enable_in_reasoning=False),
    }
    return Namespace(**(plain | changes))


@pytest.fixture(autouse=True)
def same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the launcher sets for its children is gone after each test."""
    monkeypatch.setenv(reasoning.ENVIRONMENT, "")


class TestPutGateIn:
    def test_adds_to_what_the_operator_gave(self, checkpoint: Checkpoint) -> None:
        args = arguments(additional_config={"mine": 1}, logits_processors=["a:B"])
        put_gate_in(args, checkpoint, checkpoint.policy)
        assert args.additional_config == {
            "mine": 1,
            "demur": {"respond": 1, "refuse": [2, 3], "defaults": [0.0, 0.0]},
        }
        assert args.logits_processors == ["a:B", GATE_V1]

    def test_puts_the_guard_in_front_of_other_middleware(self, checkpoint: Checkpoint) -> None:
        args = arguments(middleware=["mine.Middleware"])
        put_gate_in(args, checkpoint, checkpoint.policy)
        assert args.middleware == ["mine.Middleware", *GUARDS, *OUTER_GUARDS]
        assert args.middleware[-1] == routes.GUARD, "it finds out whether our routes are there"
        args = arguments(request_log=Path("-"))
        put_gate_in(args, checkpoint, checkpoint.policy)
        assert args.middleware == [*GUARDS, request_log.GUARD, *OUTER_GUARDS]

    def test_composes_with_the_operators_reasoning_parser(self, checkpoint: Checkpoint) -> None:
        args = arguments(reasoning_parser="qwen3")
        put_gate_in(args, checkpoint, checkpoint.policy)
        assert args.demur_reasoning_parser == "qwen3"
        assert args.reasoning_parser == reasoning.NAME
        assert args.reasoning_parser_plugin == reasoning.PLUGIN
        assert json.loads(os.environ[reasoning.ENVIRONMENT]) == [1, "qwen3", None]

    def test_refuses_grammars_that_start_before_the_gate(self, checkpoint: Checkpoint) -> None:
        config = Namespace(enable_in_reasoning=True)
        with pytest.raises(LaunchError, match="enable_in_reasoning"):
            put_gate_in(arguments(structured_outputs_config=config), checkpoint, checkpoint.policy)

    def test_leaves_reasoning_alone_without_a_respond_token(self, checkpoint: Checkpoint) -> None:
        without = replace(checkpoint, control=ControlTokens(respond=None, refuse=(2, 3)))
        config = Namespace(enable_in_reasoning=True)
        args = arguments(reasoning_parser="qwen3", structured_outputs_config=config)
        put_gate_in(args, without, checkpoint.policy)
        assert args.demur_reasoning_parser == args.reasoning_parser == "qwen3"
        assert os.environ[reasoning.ENVIRONMENT] == ""

    def test_refuses_servers_without_our_routes(
        self, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(LaunchError, match="gRPC"):
            put_gate_in(arguments(grpc=True), checkpoint, checkpoint.policy)
        monkeypatch.setenv("VLLM_USE_RUST_FRONTEND", "1")
        with pytest.raises(LaunchError, match="Rust"):
            put_gate_in(arguments(), checkpoint, checkpoint.policy)

    def test_refuses_speculation_where_the_sampler_would_skip_the_gate(
        self, checkpoint: Checkpoint
    ) -> None:
        draft = {"method": "ngram", "num_speculative_tokens": 2}
        with pytest.raises(LaunchError, match="no gate, with speculative decoding"):
            put_gate_in(arguments(speculative_config=draft), checkpoint, checkpoint.policy)
        args = arguments(speculative_config=draft)
        put_gate_in(args, checkpoint, checkpoint.policy, GATE_V2)
        assert args.logits_processors == [GATE_V2]

    @pytest.mark.parametrize("gate", [GATE_V1, GATE_V2])
    def test_loads_the_gate_once(
        self, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, gate: str
    ) -> None:
        with pytest.raises(LaunchError, match="would be loaded twice"):
            put_gate_in(arguments(logits_processors=[gate]), checkpoint, checkpoint.policy)
        point = Namespace(name="gate", value=gate)
        monkeypatch.setattr("server.launch.entry_points", lambda group: [point] * bool(group))
        with pytest.raises(LaunchError, match="would be loaded twice"):
            put_gate_in(arguments(), checkpoint, checkpoint.policy)

    def test_serves_in_the_calibrations_dtype(self, checkpoint: Checkpoint) -> None:
        args = arguments()
        put_gate_in(args, checkpoint, checkpoint.policy)
        assert args.dtype == "float32"

    def test_leaves_another_dtype_to_the_operator(self, checkpoint: Checkpoint) -> None:
        args = arguments(dtype="bfloat16")
        put_gate_in(args, checkpoint, checkpoint.policy)
        assert args.dtype == "bfloat16"

    @pytest.mark.parametrize(("limit", "raised"), [(20, 23), (-1, -1)])
    def test_leaves_clients_their_limit_of_logprobs(
        self, checkpoint: Checkpoint, limit: int, raised: int
    ) -> None:
        args = arguments(max_logprobs=limit)
        put_gate_in(args, checkpoint, checkpoint.policy)
        assert args.max_logprobs == raised

    def test_lets_nobody_else_configure_the_gate(self, checkpoint: Checkpoint) -> None:
        with pytest.raises(LaunchError, match="'demur' is set by demur-serve itself"):
            put_gate_in(arguments(additional_config={"demur": {}}), checkpoint, checkpoint.policy)


class TestGateFor:
    def test_the_cpu_runs_v1(self) -> None:
        assert gate_for(arguments()) == GATE_V1

    @pytest.mark.parametrize(("v2", "expected"), [(True, GATE_V2), (False, GATE_V1)])
    def test_elsewhere_vllms_configuration_decides(
        self, monkeypatch: pytest.MonkeyPatch, v2: bool, expected: str
    ) -> None:
        config = Namespace(use_v2_model_runner=v2)
        engine_args = Namespace(create_engine_config=lambda usage_context: config)  # noqa: ARG005
        monkeypatch.setattr("server.launch.HAS_TRITON", True)
        monkeypatch.setattr("server.launch.AsyncEngineArgs.from_cli_args", lambda _: engine_args)
        assert gate_for(arguments()) == expected


class TestNamePlugin:
    @pytest.mark.parametrize(
        ("before", "expected"),
        [("", {"demur"}), ("mine", {"mine", "demur"}), ("demur,mine", {"mine", "demur"})],
    )
    def test_extends_an_allowlist(
        self, monkeypatch: pytest.MonkeyPatch, before: str, expected: set[str]
    ) -> None:
        monkeypatch.setenv("VLLM_PLUGINS", before)
        name_plugin()
        names = os.environ["VLLM_PLUGINS"].split(",")
        assert set(names) == expected
        assert len(names) == len(expected)

    def test_makes_an_allowlist_that_lets_all_else_load_as_before(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Set before it is deleted: pytest undoes what name_plugin() sets only where it saw a value.
        monkeypatch.setenv("VLLM_PLUGINS", "")
        monkeypatch.delenv("VLLM_PLUGINS")
        monkeypatch.setattr(
            "server.launch.entry_points",
            lambda group, name=None: [Namespace(name=name or f"of {group.split('.')[1]}")],
        )
        name_plugin()
        assert os.environ["VLLM_PLUGINS"].split(",") == [
            "of general_plugins",
            "of io_processor_plugins",
            "of platform_plugins",
            "of stat_logger_plugins",
            "demur",
        ]

    def test_says_so_if_demur_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.launch.entry_points", lambda **_: [])
        with pytest.raises(LaunchError, match="pip install"):
            name_plugin()


class TestArguments:
    def test_are_vllms_own(self) -> None:
        args = parse(["demo", "--port", "8123", "--enforce-eager", "--max-model-len", "128"])
        assert (args.model, args.port, args.enforce_eager, args.max_model_len) == (
            "demo",
            8123,
            True,
            128,
        )

    def test_include_ours(self) -> None:
        assert not parse(["demo"]).mirror_refusals
        assert parse(["demo", "--mirror-refusals"]).mirror_refusals
        assert parse(["demo", "--content-filter-results"]).content_filter_results
        assert parse(["demo"]).refusal_text is None
        assert parse(["demo", "--refusal-text", "template"]).refusal_text == "template"
        assert parse(["demo"]).score_sample == SPARING
        assert parse(["demo", "--score-sample", "0.5"]).score_sample == Sample(0.5)
        assert parse(["demo"]).playground
        assert not parse(["demo", "--no-playground"]).playground

    def test_name_texts_that_are_there(self, checkpoint: Checkpoint, tmp_path: Path) -> None:
        folder = str(tmp_path)
        check_texts(parse([folder]), checkpoint)
        with pytest.raises(LaunchError, match=r"has no refusal_templates\.yaml; write one"):
            check_texts(parse([folder, "--refusal-text", "template"]), checkpoint)
        frozen = checkpoint.manifest.model_copy(update={"refusal_texts": ("template",)})
        frozen_checkpoint = replace(checkpoint, manifest=frozen)
        with pytest.raises(LaunchError, match=r"are templates.* has no refusal_templates\.yaml"):
            check_texts(parse([folder]), frozen_checkpoint)
        TEMPLATES.save(tmp_path)
        check_texts(parse([folder]), frozen_checkpoint)
        with pytest.raises(LaunchError, match=r"--refusal-text generated: .* not trained to"):
            check_texts(parse([folder, "--refusal-text", "generated"]), frozen_checkpoint)
        check_texts(parse([folder, "--refusal-text", "template"]), checkpoint)
        flags = ["--refusal-templates", str(tmp_path / "mine.yaml")]
        with pytest.raises(LaunchError, match=r"mine\.yaml cannot be read"):
            check_texts(parse([folder, *flags]), checkpoint)

    def test_say_which_files_are_read_again(self) -> None:
        assert not hangup.is_asked_for(parse(["demo"]))
        assert hangup.is_asked_for(parse(["demo", "--refusal-policy", "policy.yaml"]))
        assert hangup.is_asked_for(parse(["demo", "--refusal-templates", "texts.yaml"]))

    @pytest.mark.parametrize("share", ["-0.1", "1.1", "some", "nan"])
    def test_take_a_share_of_prompts(self, share: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            parse(["demo", f"--score-sample={share}"])
        assert f"'{share}' is not a number between 0 and 1" in capsys.readouterr().err

    @pytest.mark.parametrize("flag", ["--max-body-mib", "--body-timeout"])
    @pytest.mark.parametrize("limit", ["0", "-1", "inf", "nan", "some"])
    def test_take_limits_above_0(
        self, flag: str, limit: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            parse(["demo", f"{flag}={limit}"])
        assert f"'{limit}' is not a number above 0" in capsys.readouterr().err

    def test_need_a_checkpoint(self) -> None:
        with pytest.raises(LaunchError, match="name the checkpoint's folder first"):
            parse(["--port", "8123"])

    def test_name_a_folder_that_exists(self, tmp_path: Path) -> None:
        with pytest.raises(LaunchError, match="is not a folder"):
            load_checkpoint(str(tmp_path / "missing"))

    def test_name_a_folder_with_a_manifest(self, tmp_path: Path) -> None:
        with pytest.raises(LaunchError, match=r"refusal\.json cannot be read"):
            load_checkpoint(str(tmp_path))


class TestCommand:
    def test_help_imports_nothing_heavy(self) -> None:
        code = (
            "import sys; from server.cli import main; status = main(['--help']);"
            "heavy = {'torch', 'vllm', 'transformers'} & set(sys.modules);"
            "sys.exit(f'imported {heavy}' if heavy else status)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "refusal_rates" in done.stdout
        assert "--score-sample SHARE" in done.stdout

    def test_without_arguments_shows_how_to_use_it(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main([]) == 2
        assert "usage: demur-serve CHECKPOINT" in capsys.readouterr().out

    def test_reports_why_it_cannot_start(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        assert cli.main([str(tmp_path)]) == 1
        assert "demur-serve: " in capsys.readouterr().err


class TestBanner:
    def test_holds_requests_for_this_server(self, checkpoint: Checkpoint) -> None:
        text = banner(arguments(port=8123), checkpoint, "127.0.0.1")
        assert "curl -s http://127.0.0.1:8123/v1/chat/completions" in text
        assert 'model="demur-demo"' in text
        assert '"refusal_rates": {"safety": 0.95}' in text

    def test_holds_code_that_can_be_pasted(self, checkpoint: Checkpoint) -> None:
        text = banner(arguments(), checkpoint, "localhost")
        code = text[text.index("from openai") : text.index("-----", text.index("from openai"))]
        compile(code, "banner", "exec")
        curl = text[text.index("curl -s") : text.index("Or with")]
        assert json.loads(curl.split("-d")[1].strip().strip("'"))["messages"]

    def test_asks_for_thresholds_where_there_are_no_rates(self, checkpoint: Checkpoint) -> None:
        policy = Policy(checkpoint.manifest, {})
        text = banner(arguments(), replace(checkpoint, policy=policy), "localhost")
        assert '"refusal_thresholds": {"safety": 0.0}' in text
        assert "refusal_rates" not in text

    def test_says_what_people_should_know(self, checkpoint: Checkpoint) -> None:
        notice = checkpoint.manifest.model_copy(update={"notice": "A demonstration."})
        told = replace(checkpoint, manifest=notice)
        assert "A demonstration.\n" in banner(arguments(), told, "localhost")

    @pytest.mark.parametrize("playground", [True, False])
    def test_names_the_playground_where_it_is(
        self, checkpoint: Checkpoint, playground: bool
    ) -> None:
        text = banner(arguments(port=8123, playground=playground), checkpoint, "localhost")
        assert ("http://localhost:8123/ has the dial to play with" in text) == playground

    def test_knows_tls(self, checkpoint: Checkpoint) -> None:
        assert "https://" in banner(arguments(ssl_certfile="cert.pem"), checkpoint, "localhost")


class TestCompiling:
    @pytest.mark.parametrize(
        ("compiler", "eager", "expected"),
        [("no-such-compiler", False, "1"), ("sh", True, "1"), ("sh", False, None)],
    )
    def test_nothing_is_compiled_in_vain(
        self, monkeypatch: pytest.MonkeyPatch, compiler: str, eager: bool, expected: str | None
    ) -> None:
        monkeypatch.setenv("CXX", compiler)
        monkeypatch.setenv("TORCHDYNAMO_DISABLE", "set, so that its removal is undone")
        monkeypatch.delenv("TORCHDYNAMO_DISABLE")
        compile_nothing_in_vain(eager=eager)
        assert os.environ.get("TORCHDYNAMO_DISABLE") == expected


class TestCpuWorker:
    @pytest.mark.parametrize(
        ("given", "gate", "expected"),
        [
            ("auto", GATE_V1, CPU_WORKER),
            ("auto", GATE_V2, "auto"),
            ("an.operators.Worker", GATE_V1, "an.operators.Worker"),
        ],
    )
    def test_is_ours_on_v1_unless_the_operator_has_one(
        self, given: str, gate: str, expected: str
    ) -> None:
        args = arguments(worker_cls=given)
        put_cpu_worker_in(args, gate)
        assert args.worker_cls == expected
