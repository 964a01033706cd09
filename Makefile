# Two commands do everything: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
RECIPE ?= smollm2
DEMO := checkpoints/$(RECIPE)
TINY := checkpoints/tiny
PORT ?= 8000
FLAGS ?= --enforce-eager

# vLLM on the CPU: no hub access, 1 GiB of KV cache, quiet start.
export HF_HUB_OFFLINE ?= 1
export VLLM_CPU_KVCACHE_SPACE ?= 1
export VLLM_NO_USAGE_STATS ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: checkpoint ## train, calibrate and serve the demonstration on port 8000 (RECIPE=smollm2-lora: trained)
	@exec $(BIN)/demur-serve $(DEMO) --port $(PORT) --enforce-eager --served-model-name demur-demo \
		--enable-auto-tool-choice --tool-call-parser hermes \
		--override-generation-config '{"temperature": 0.2, "top_p": 0.9}'

.PHONY: serve
serve: install ## serve CHECKPOINT=folder, with FLAGS="any flag of vllm serve"
	@exec $(BIN)/demur-serve $(or $(CHECKPOINT),$(DEMO)) --port $(PORT) $(FLAGS)

.PHONY: install
install: .venv/installed ## make the environment

.venv/installed: requirements-cpu.lock pyproject.toml scripts/install.sh scripts/dependencies.sh
	scripts/install.sh $(PYTHON)
	@touch $@

.PHONY: checkpoint
checkpoint: install ## train and calibrate the demonstration model, if it is not there
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/checkpoint.sh $(RECIPE) $(DEMO)

# Made anew when the generator of its records, or the recipes, change.
$(TINY)/refusal.json: $(filter-out tests/tiny/test_%,$(wildcard tests/tiny/*.py)) \
		training/recipes.py | .venv/installed
	rm -rf $(TINY)
	$(BIN)/python -m tests.tiny build/tiny
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/checkpoint.sh tiny $(TINY) \
		$(foreach split,train calibration test,--set data.$(split)=build/tiny/$(split).jsonl) \
		--set data.templates=build/tiny/refusal_templates.yaml

.PHONY: tiny
tiny: install $(TINY)/refusal.json ## train and calibrate the tiny model that the tests run on

.PHONY: test
test: tiny ## run every test, against the real server on a tiny model
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder $(ARGS)

.PHONY: soak
soak: checkpoint ## serve mixed traffic for MINUTES=30 and check every decision, memory and handles
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),30)

.PHONY: bench
bench: checkpoint ## measure against stock vLLM and a guard model; with ARGS="--resume" it goes on
	$(BIN)/python -m benchmarks.serving $(ARGS)

.PHONY: check
check: install ## lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: lock
lock: install ## resolve the lock files anew
	scripts/lock.sh

.PHONY: docker-secrets
docker-secrets: ## make the API keys and passwords of docker/compose.yaml
	scripts/secrets.sh

.PHONY: docker-check
docker-check: ## build the CPU image, and put the whole stack through its paces
	scripts/docker-check.sh

.PHONY: clean
clean: ## remove the environment, checkpoints and caches
	rm -rf .venv checkpoints build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis
