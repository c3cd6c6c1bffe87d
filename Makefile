# make bench: everything for a first trade-off table. make test: everything for the tests.
# Needs Python 3.10 to 3.13 only; PYTHON chooses which.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# GCC before 13 drops most of the tile configuration of AMX; llama.cpp built by it crashes where the CPU has AMX.
NO_AMX = $(shell test "$$(cc -dumpversion | cut -d. -f1)" -lt 13 && cc -mno-amx-tile -E -x c /dev/null >/dev/null 2>&1 && echo -mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
AS_ROOT := $(shell test "$$(id -u)" = 0 || echo sudo)

.PHONY: bench test test-core test-assets test-kernel test-tensorrt-rtx test-tensorrt-rtx-part test-openvino-ep test-executorch test-nncf test-aarch64 test-aarch64-part test-runtimes test-browser test-llm test-genai readme-picture arrivals-picture search-pictures docs coverage lint types resolve perf hardware blocks why gate-selftest reference-llm reference-speculation reference-search reference-recall readme soak fuzz clean

bench: $(VENV)/.bench
	$(BIN)/edgebench run --suite quick
	@printf '\nnext:\n'
	@printf '  %-52s %s\n' '$(BIN)/edgebench run --model YOUR.onnx --budget 60s' '# a model of your own' \
		'$(BIN)/edgebench pick results --require "latency.p90<=30ms"' '# the deployment within limits' \
		'$(BIN)/edgebench show results' '# the table again'

# Two workers, of which one runs all that measures: tests/conftest.py.
IN_TWO := -n 2
test: $(VENV)/.test
	$(BIN)/pytest $(IN_TWO) $(PYTEST_ARGS)

# What can differ between versions of Python and of ONNX Runtime: all of the tests but those of pages and packages, of other
# runtimes, most of those that start measurements, and the contract kit on faulty backends.
CORE := $(filter-out $(addprefix tests/,ab_test/ backends/ measure/ packaging/ __pycache__/),$(wildcard tests/*/)) \
	tests/ab_test/test_pair_runner.py tests/backends/test_ort.py tests/backends/test_registry.py \
	tests/measure/test_worker.py tests/measure/test_run_command.py
test-core: $(VENV)/.test
	$(BIN)/pytest $(IN_TWO) -m "not slow and not downloads and not kernel and not aarch64 and not tensorrt_rtx" -k "not test_a_faulty_backend" $(CORE)

# The measured quality of every workload against its limits, with the real models and data.
test-assets: $(VENV)/.test
	$(BIN)/pytest -m downloads

# The runtimes that the tests do without where they are not installed: OpenVINO and ncnn.
test-runtimes: $(VENV)/.runtimes
	$(BIN)/pytest tests/backends/test_openvino.py tests/backends/test_ncnn.py tests/backends/test_runtime_contracts.py tests/backends/test_runtime_workloads.py

# The report's page in a real browser: Debian's chromium, installed where it is missing.
test-browser: $(VENV)/.browser
	command -v chromium >/dev/null || { $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install -y chromium; }
	$(BIN)/pytest -m browser tests/report/test_browser.py tests/site/test_site_browser.py

# The meters against the kernel's own drivers: boards in User-mode Linux, built from Debian's source once (some 400 CPU-seconds; kept in
# build/kernel). Needs root, Debian and x86-64; ends with 77 and one line of reason where it cannot run.
test-kernel: $(VENV)/.test
	$(BIN)/python -m tests.kernel.kernel_image
	$(BIN)/pytest -m kernel tests/kernel
	$(BIN)/python -m tests.kernel.hardware_file build/hardware/user-mode-linux.json

# NVIDIA's own parser and builder on a CPU: every workload's fp32, fp16 and int8-static file. Wheels for x86-64 (95 MB).
test-tensorrt-rtx: $(VENV)/.test
	$(BIN)/python -m tests.ci.require_tensorrt_rtx
	$(BIN)/pytest -m tensorrt_rtx tests/tensorrt_rtx --junitxml build/tensorrt-rtx.xml
	$(BIN)/python -m tests.ci.junit_to_check build/tensorrt-rtx.xml backend.trt.build 'a CPU, without a GPU' build/hardware/tensorrt-rtx.json

# One file of each kind, and all that is no workload's: what CI has time for.
test-tensorrt-rtx-part: $(VENV)/.test
	$(BIN)/python -m tests.ci.require_tensorrt_rtx
	$(BIN)/pytest -m tensorrt_rtx tests/tensorrt_rtx -k "not every_workload or image-classification or voice-activity"

# OpenVINO as an execution provider of ONNX Runtime (52 MB). It computes on Intel's processors alone: elsewhere QEMU emulates one, which
# shows that answers and facts are right, and no time. Linux, x86-64.
test-openvino-ep: $(VENV)/.openvino-ep
	grep -q GenuineIntel /proc/cpuinfo || command -v qemu-x86_64-static >/dev/null || { $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install -y qemu-user-static; }
	$(BIN)/pytest tests/backends/test_openvino_ep.py

# NNCF's accuracy control as a source of maps. No part of CI: with SciPy and scikit-learn it takes 250 MB.
test-nncf: $(VENV)/.nncf
	$(BIN)/pytest tests/search/test_nncf.py

# ExecuTorch on programs that torch exports. No part of CI: with torch it takes 6 GB.
test-executorch: $(VENV)/.executorch
	$(BIN)/pytest tests/backends/test_executorch.py

# The wheel, runtimes and tests under an emulator of aarch64 (QEMU's user emulation; root, Debian): some 16 minutes of both cores;
# QUICK_STRETCH=3 gives the emulated suite three times as long on a busy machine.
test-aarch64: $(VENV)/.test
	$(BIN)/python -m tests.aarch64.emulated_root
	$(BIN)/pytest -m aarch64 tests/aarch64 --junitxml build/aarch64.xml
	$(BIN)/python -m tests.ci.junit_to_check build/aarch64.xml run.aarch64 'QEMU, user emulation of aarch64' build/hardware/qemu-aarch64.json

# The wheel and every runtime on one Python, int8 of small models: what CI has time for.
test-aarch64-part: $(VENV)/.test
	$(BIN)/python -m tests.aarch64.emulated_root
	$(BIN)/pytest -m aarch64 tests/aarch64 -k "(python3.11 and not core_tests) or int8_is"

# Keeps what the three targets above found, where the matrix of docs/hardware.md is made from: a maintainer's step, no part of CI.
hardware: $(VENV)/.test
	cp build/hardware/*.json results/hardware/
	$(BIN)/python -m tests.readme < /dev/null

# The README's picture, from the reference results.
readme-picture: $(VENV)/.test
	mkdir -p docs/images
	$(BIN)/edgebench report results/reference/quick-linux-amd-2c.jsonl --workload image-classification --out docs/images/tradeoff.svg

# The picture of docs/scenarios.md.
arrivals-picture: $(VENV)/.test
	$(BIN)/python docs/arrivals.py docs/images/arrivals.svg

# The documentation as a site in build/site; a dead link or anchor is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo build/site/index.html

# All tests, and the share of lines that they reach in their own process. Python 3.12 and later count at hardly any cost
# (sys.monitoring); before that it doubles the time.
coverage: $(VENV)/.coverage
	COVERAGE_CORE=sysmon $(BIN)/pytest $(IN_TWO) --cov --cov-report=
	@printf 'coverage: %s %% of lines\n' "$$($(BIN)/coverage report --format=total)"

# Runtimes for language models; llama.cpp is built from source (about eight minutes of one core).
test-llm: $(VENV)/.llm
	$(BIN)/pytest tests/backends/test_runtime_contracts.py -k "decoders"

# ONNX Runtime GenAI with its model builder, which brings PyTorch: no part of CI.
test-genai: $(VENV)/.genai
	$(BIN)/pytest tests/backends/test_runtime_contracts.py -k "decoders and ort_genai"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# Whether every extra resolves to wheels on a Jetson and on a Mac; installs nothing.
resolve: $(VENV)/.dev
	$(BIN)/python -m tests.ci.resolve_extras

# Speed and memory against bare loops, as ratios from one run; no part of the tests.
perf: $(VENV)/.test
	$(BIN)/python -m tests.perf

# Whether the regression gate sees what it must see, on this machine (minutes).
gate-selftest: $(VENV)/.test
	$(BIN)/python -m tests.perf.gate.selftest

# Whether intervals of ratios hold the truth: collected runs of one cell under several names, and simulated ones.
# `python -m tests.perf.blocks.collect 40` adds runs of this machine.
blocks: $(VENV)/.test
	$(BIN)/python -m tests.perf.blocks

# What `edgebench explain` says of four models on this machine, for docs/why.md; wants a quiet machine, a minute.
WHY ?= music-transcription image-classification file-typing text-recognition
why: $(VENV)/.test
	mkdir -p results/explain
	set -e; for name in $(WHY); do \
		$(BIN)/edgebench explain $$name --set precision=int8-static --set threads=1 --format json > results/explain/$$name.json.tmp; \
		mv results/explain/$$name.json.tmp results/explain/$$name.json; done
	$(BIN)/python -m tests.readme

# The searches of docs/search.md as they ran: measured again, kept in results/searches, drawn, and the page renewed. Wants a quiet
# machine, some 20 minutes of two cores. SEARCHED: some of the six.
SEARCHED ?=
SEARCH_BUDGET ?= 200s
reference-search: $(VENV)/.test
	rm -rf build/search
	-$(BIN)/python -m tests.perf.search_goals $(SEARCHED) --budget $(SEARCH_BUDGET) --out build/search
	$(BIN)/python -m tests.kept_searches build/search
	$(BIN)/python -m tests.readme < /dev/null

# The pictures and tables of docs/search.md, from the kept searches.
search-pictures: $(VENV)/.test
	$(BIN)/python -m tests.kept_searches

# Results of SmolLM2 for results/reference, and the blocks of docs/results.md that follow from them; wants a quiet machine, some 16
# minutes of two cores, and half an hour more for MLX: off Apple silicon it reads a prompt in 15 s.
MACHINE ?= linux-x86-2c
RUNTIMES ?= ort,llama_cpp,openvino_genai,ort_genai
PRECISIONS ?= as-is,fp16,int8-dynamic,int4
THREADS ?= 1,2
LENGTHS ?= 128,256,384,512
REPLICATES ?= 3
reference-llm: $(VENV)/.llm $(VENV)/.genai
	rm -rf build/chat build/reasoning
	$(BIN)/edgebench run smollm2-chat --backend $(RUNTIMES) --set precision=$(PRECISIONS) --set threads=$(THREADS) \
		--set batch=1 --set prompt_tokens=128 --set new_tokens=32 --replicates $(REPLICATES) --slice 4s --out build/chat
	$(BIN)/edgebench run smollm2-chat --backend mlx --set precision=as-is --set threads=$(THREADS) \
		--set batch=1 --set prompt_tokens=128 --set new_tokens=32 --replicates $(REPLICATES) --slice 4s --timeout 1800s --out build/chat
	$(BIN)/edgebench run smollm2-reasoning --backend ort --set accuracy_level=4 --set threads=2 --set batch=1 \
		--set prompt_tokens=$(LENGTHS) --replicates $(REPLICATES) --slice 4s --out build/reasoning
	cat build/chat/*/*.jsonl > results/reference/smollm2-$(MACHINE).jsonl
	cp build/reasoning/*/*.jsonl results/reference/smollm2-reasoning-$(MACHINE).jsonl
	$(MAKE) readme

# What docs/llm.md tells of look-ups, drafts, budgets of memory and turns on SmolLM2, and its tables; wants a quiet machine, some nine
# minutes of two cores; the budgets end each part where the machine is slower. A row that fails or loses is a finding (exit code 1),
# anything else ends it.
SPECULATION = build/speculation
SMOLLM2 = $(BIN)/edgebench run smollm2-chat --set precision=as-is --set threads=2 --set batch=1 --set prompt_tokens=128 --slice 1.5s \
	--out $(SPECULATION)
OR_FINDING = || [ $$? -eq 1 ]
reference-speculation: $(VENV)/.llm
	rm -rf $(SPECULATION)
	$(SMOLLM2) --replicates 2 --budget 240s --backend ort --set content=repeat,edit,chat --set lookup=0,3 --set new_tokens=33 $(OR_FINDING)
	$(SMOLLM2) --replicates 1 --budget 180s --backend llama_cpp,openvino_genai --set content=repeat,chat --set lookup=0,3 --set new_tokens=33 $(OR_FINDING)
	$(SMOLLM2) --replicates 1 --budget 90s --backend ort --set content=chat --set draft=self:w8 --set draft_confidence=0,0.5 --set new_tokens=33 $(OR_FINDING)
	$(SMOLLM2) --replicates 1 --budget 45s --backend openvino_genai --set content=chat --set draft=self:as-is --set new_tokens=33 $(OR_FINDING)
	$(SMOLLM2) --replicates 1 --budget 75s --backend ort --set memory_budget=128MiB,192MiB,256MiB,1GiB --set new_tokens=8 $(OR_FINDING)
	$(SMOLLM2) --replicates 1 --budget 120s --backend llama_cpp --set repack=false --set memory_budget=48MiB,96MiB,128MiB,256MiB --set new_tokens=8 $(OR_FINDING)
	$(SMOLLM2) --replicates 1 --budget 100s --backend ort --set turns=5 --set reuse=true,false --set new_tokens=16 $(OR_FINDING)
	mkdir -p results/speculation
	cat $(SPECULATION)/*/*.jsonl > results/speculation/smollm2-speculation-$(MACHINE).jsonl
	$(BIN)/python -m tests.llm_tables results/speculation/smollm2-speculation-$(MACHINE).jsonl

# What SmolLM2 answers of lists and hidden facts, and what smaller caches cost, for docs/llm.md: answers alone, which no busy machine changes;
# with one thread, since runtimes whose threads wait for each other take minutes a prompt there.
RECALL = build/recall
reference-recall: $(VENV)/.llm
	rm -rf $(RECALL)
	$(BIN)/edgebench run smollm2-recall --backend ort --set threads=1 --replicates 1 --slice 1s --out $(RECALL) $(OR_FINDING)
	$(BIN)/edgebench run smollm2-chat --backend llama_cpp --set kv_cache=fp32,fp16,q8_0 --set threads=1 --set batch=1 --set precision=as-is \
		--set prompt_tokens=128 --replicates 1 --slice 1s --out $(RECALL) $(OR_FINDING)
	$(BIN)/edgebench run smollm2-chat --backend openvino_genai --set kv_cache=fp32,fp16,bf16,u8 --set threads=1 --set batch=1 --set precision=as-is \
		--set prompt_tokens=128 --replicates 1 --slice 1s --out $(RECALL) $(OR_FINDING)
	$(BIN)/python -m tests.llm_tables $(RECALL)/*/*.jsonl

# Blocks of README and docs/ that edgebench prints, from the reference results.
readme: $(VENV)/.test
	$(BIN)/python -m tests.readme < /dev/null

# Kills at random moments and a disk that fills up, on real suites (minutes; the disk needs root).
soak: $(VENV)/.test
	$(BIN)/python -m tests.soak.kills
	$(BIN)/python -m tests.soak.full_disk
	$(BIN)/python -m tests.soak.energy_sweep

# Mutated files for every reader, some thousand each (minutes); the tests read some hundred.
fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13) and "edgebench needs Python 3.10 to 3.13: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# Each stamp stands for one set of extras; pyproject.toml says what is in it.
$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.runtimes: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test,openvino,ncnn,wakeword]'
	$(BIN)/pip install --quiet --no-deps pnnx
	touch $@

$(VENV)/.openvino-ep: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test,openvino-ep]'
	touch $@

$(VENV)/.nncf: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test,nncf]'
	touch $@

$(VENV)/.executorch: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test,executorch]'
	touch $@

$(VENV)/.browser: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test,browser]'
	touch $@

$(VENV)/.llm: pyproject.toml | $(VENV)/bin/python
	CFLAGS="$(CFLAGS) $(NO_AMX)" CXXFLAGS="$(CXXFLAGS) $(NO_AMX)" $(BIN)/pip install --quiet --editable '.[test,llama-cpp,openvino-genai]'
	touch $@

$(VENV)/.genai: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test,ort-genai]'
	$(BIN)/pip install --quiet torch transformers onnx-ir
	touch $@

$(VENV)/.coverage: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[coverage]'
	touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@
