# Two commands do everything on a machine that has python3 (with venv) and make:
#   make study    make test
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
DATA ?= data
RUNS ?= runs
REPORTS ?= reports
SCANS ?= 100
SMOKE_SCANS ?= 20
CHESTS ?= 24
SLIDES ?= 60
PATIENTS ?= 100
EXAMS ?= 160
MUTANTS ?= 10000

VENV := .venv
BENCH_VENV := .venv-bench

MLP_MED := $(VENV)/bin/mlp-med
export MLFLOW_TRACKING_URI ?= sqlite:///$(abspath $(RUNS))/mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help install-study install-test smoke study resolution dsb2017 slides slides-pilot mammography mammography-pilot screening screening-pilot pilot more-data batch batch-pilot interaction interaction-pilot splitting splitting-pilot memory-fits platforms controls controls-full calibration report rerun ui serve bench test test-slow faults fuzz audit lint lock clean

help:  ## explain every target
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo "Variables: SOURCE=DIR of real scans (for resolution), RUN=id (for rerun), DATA, RUNS, REPORTS, SCANS, CHESTS, SLIDES, PATIENTS, EXAMS, PYTHON."

# ---- the environment: made from a hashed lock, made again when the lock changes
# pip compiles one file after the other, tests that nobody runs among them; a file that does not
# compile is no mistake of ours, and is told where it is imported.
define install
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $(1)
	$(VENV)/bin/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	sha256sum $(1) pyproject.toml > $(VENV)/$(notdir $(1)).sha256
endef

install-test:  ## create or renew .venv for the tests
	@if ! sha256sum --check --status $(VENV)/test.txt.sha256 2>/dev/null; then \
	  $(MAKE) --no-print-directory $(VENV)/made-from-test; fi

install-study:  ## create or renew .venv for the studies (the tests' .venv serves as well)
	@if ! sha256sum --check --status $(VENV)/test.txt.sha256 2>/dev/null && \
	    ! sha256sum --check --status $(VENV)/study.txt.sha256 2>/dev/null; then \
	  $(MAKE) --no-print-directory $(VENV)/made-from-study; fi

.PHONY: $(VENV)/made-from-test $(VENV)/made-from-study
$(VENV)/made-from-test:
	$(call install,requirements/test.txt)
$(VENV)/made-from-study:
	$(call install,requirements/study.txt)

# ---- the chain: each command leaves alone what is whole already
smoke: install-study  ## the whole chain on a tiny phantom in ≤3 minutes after installation; claims no verdict
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16-smoke --scans $(SMOKE_SCANS) --seed 0
	$(MLP_MED) study run resolution_matters --size smoke --source $(DATA)/phantom-luna16-smoke --data-dir $(DATA)/tfds-smoke
	$(MLP_MED) report resolution_matters --size smoke --out $(REPORTS)/smoke

study: install-study  ## install, write the phantom, run the resolution study at its small size, report (≤20 minutes on 2 cores)
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16 --scans $(SCANS) --seed 0
	$(MLP_MED) study run resolution_matters --size small --source $(DATA)/phantom-luna16 --data-dir $(DATA)/tfds
	$(MLP_MED) report resolution_matters --size small --out $(REPORTS)/resolution_matters

resolution: install-study  ## the resolution study at full size on real scans: make resolution SOURCE=/path/to/LUNA16
	@test -n "$(SOURCE)" || { echo "make resolution needs SOURCE=DIR, a directory in LUNA16's layout" >&2; exit 2; }
	$(MLP_MED) study run resolution_matters --size full --source "$(SOURCE)" --data-dir $(DATA)/tfds-full
	$(MLP_MED) report resolution_matters --size full --out $(REPORTS)/resolution_matters-full

dsb2017: install-study  ## whole lungs: phantom in Data Science Bowl 2017's layout, the smoke study on it, report (≤20 minutes on 2 cores); claims no verdict
	$(MLP_MED) phantom dsb2017 $(DATA)/phantom-dsb2017 --scans $(CHESTS) --seed 0
	$(MLP_MED) study run resolution_matters --dataset dsb2017 --size smoke --source $(DATA)/phantom-dsb2017 --data-dir $(DATA)/tfds-dsb2017
	$(MLP_MED) report resolution_matters --dataset dsb2017 --size smoke --out $(REPORTS)/dsb2017

slides: install-test  ## the resolution study on drawn whole slides, small (≤20 minutes on 2 cores; OpenSlide is in the tests' lock)
	$(MLP_MED) phantom camelyon16 $(DATA)/phantom-camelyon16 --slides $(SLIDES) --seed 0
	$(MLP_MED) study run resolution_matters --dataset camelyon16 --size small --source $(DATA)/phantom-camelyon16 --data-dir $(DATA)/tfds
	$(MLP_MED) report resolution_matters --dataset camelyon16 --size small --out $(REPORTS)/slides

slides-pilot: install-test  ## the small slide phantom's pilot, and its committed record, without which make slides ends in no verdict
	$(MLP_MED) phantom camelyon16 $(DATA)/phantom-camelyon16 --slides $(SLIDES) --seed 0
	$(MLP_MED) study pilot resolution_matters --dataset camelyon16 --size small --source $(DATA)/phantom-camelyon16 --data-dir $(DATA)/tfds --record experiments/pilots/resolution_matters-camelyon16-small.json

mammography: install-study  ## the resolution study on a phantom of film mammograms, small, report (≤20 minutes on 2 cores)
	$(MLP_MED) phantom cbis_ddsm_crops $(DATA)/phantom-cbis-ddsm --patients $(PATIENTS) --seed 0
	$(MLP_MED) study run resolution_matters --dataset cbis_ddsm_crops --size small --source $(DATA)/phantom-cbis-ddsm --data-dir $(DATA)/tfds
	$(MLP_MED) report resolution_matters --dataset cbis_ddsm_crops --size small --out $(REPORTS)/mammography

mammography-pilot: install-study  ## its learning rates and budget chosen again, and their committed record, without which it ends in no verdict
	$(MLP_MED) phantom cbis_ddsm_crops $(DATA)/phantom-cbis-ddsm --patients $(PATIENTS) --seed 0
	$(MLP_MED) study pilot resolution_matters --dataset cbis_ddsm_crops --size small --source $(DATA)/phantom-cbis-ddsm --data-dir $(DATA)/tfds --record experiments/pilots/resolution_matters-cbis_ddsm_crops-small.json

screening: install-study  ## the resolution study on a phantom of screening exams, three classes, small, report (≤30 minutes on 2 cores)
	$(MLP_MED) phantom breast_screening $(DATA)/phantom-screening --exams $(EXAMS) --seed 0
	$(MLP_MED) study run resolution_matters --dataset breast_screening --size small --source $(DATA)/phantom-screening --data-dir $(DATA)/tfds
	$(MLP_MED) report resolution_matters --dataset breast_screening --size small --out $(REPORTS)/screening

screening-pilot: install-study  ## its learning rates and budget chosen again, and their committed record
	$(MLP_MED) phantom breast_screening $(DATA)/phantom-screening --exams $(EXAMS) --seed 0
	$(MLP_MED) study pilot resolution_matters --dataset breast_screening --size small --source $(DATA)/phantom-screening --data-dir $(DATA)/tfds --record experiments/pilots/resolution_matters-breast_screening-small.json

pilot: install-study  ## the small phantom's pilot again, and its committed record (about an hour on 2 cores)
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16 --scans $(SCANS) --seed 0
	$(MLP_MED) study pilot resolution_matters --size small --source $(DATA)/phantom-luna16 --data-dir $(DATA)/tfds --record experiments/pilots/resolution_matters-luna16-small.json

more-data: install-study  ## would more training patients do instead? the phantom by fractions of its training set (about 45 minutes on 2 cores)
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16 --scans $(SCANS) --seed 0
	$(MLP_MED) study run more_data --size small --source $(DATA)/phantom-luna16 --data-dir $(DATA)/tfds
	$(MLP_MED) report more_data --size small --out $(REPORTS)/more_data

batch: install-study  ## do tiny or very large batches cost? the study of batch size at its small size, report (≤20 minutes on 2 cores)
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16 --scans $(SCANS) --seed 0
	$(MLP_MED) study run batch_size_matters --size small --source $(DATA)/phantom-luna16 --data-dir $(DATA)/tfds
	$(MLP_MED) report batch_size_matters --size small --out $(REPORTS)/batch_size_matters

batch-pilot: install-study  ## the learning rates of make batch chosen again, and their committed record, without which it ends in no verdict
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16 --scans $(SCANS) --seed 0
	$(MLP_MED) study pilot batch_size_matters --size small --source $(DATA)/phantom-luna16 --data-dir $(DATA)/tfds --record experiments/pilots/batch_size_matters-luna16-small.json

interaction: install-study  ## finer with a small batch, or coarser with a large one, within one memory? small, report
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16 --scans $(SCANS) --seed 0
	$(MLP_MED) study run resolution_or_batch --size small --source $(DATA)/phantom-luna16 --data-dir $(DATA)/tfds
	$(MLP_MED) report resolution_or_batch --size small --out $(REPORTS)/resolution_or_batch

interaction-pilot: install-study  ## its learning rates and budget chosen again, and their committed record, without which it ends in no verdict
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16 --scans $(SCANS) --seed 0
	$(MLP_MED) study pilot resolution_or_batch --size small --source $(DATA)/phantom-luna16 --data-dir $(DATA)/tfds --record experiments/pilots/resolution_or_batch-luna16-small.json

splitting: install-study  ## what does splitting images cost? the study of tiles at its small size, report (≤20 minutes on 2 cores)
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16-alone --scans $(SCANS) --seed 0 --variant nodules_alone
	$(MLP_MED) study run splitting_costs --dataset luna16_fields --size small --source $(DATA)/phantom-luna16-alone --data-dir $(DATA)/tfds
	$(MLP_MED) report splitting_costs --dataset luna16_fields --size small --out $(REPORTS)/splitting

splitting-pilot: install-study  ## the learning rates of make splitting chosen again, and their committed record, without which it ends in no verdict
	$(MLP_MED) phantom luna16 $(DATA)/phantom-luna16-alone --scans $(SCANS) --seed 0 --variant nodules_alone
	$(MLP_MED) study pilot splitting_costs --dataset luna16_fields --size small --source $(DATA)/phantom-luna16-alone --data-dir $(DATA)/tfds --record experiments/pilots/splitting_costs-luna16_fields-small.json

memory-fits: install-study  ## what fits on which machine, and what must be given up; a few cells measured here (≤5 minutes)
	$(MLP_MED) study compute memory_fits --measure
	$(MLP_MED) report memory_fits --out $(REPORTS)/memory_fits

platforms: install-study  ## what a step waits for on each machine, beside this one measured (≤5 minutes)
	$(MLP_MED) study compute platforms --measure
	$(MLP_MED) report platforms --out $(REPORTS)/platforms

controls: install-study  ## run the negative and the positive control, and write their committed record (≤20 minutes on 2 cores)
	$(MLP_MED) controls --data-dir $(DATA)/controls

controls-full: install-study  ## the same at 0.625 mm, for studies of full size (about an hour on 2 cores)
	$(MLP_MED) controls --size full --data-dir $(DATA)/controls

calibration: install-study  ## simulate the verdict's error rates again, and write their committed record
	$(VENV)/bin/python -m mlp_med.evidence.calibration --simulations 2000 --out experiments/calibration.json

report: install-study  ## write the report of the newest resolution study again, from the ledger alone
	$(MLP_MED) report resolution_matters --out $(REPORTS)/resolution_matters

rerun: install-study  ## train one cell again from the ledger and compare: make rerun RUN=<run id>
	@test -n "$(RUN)" || { echo "make rerun needs RUN=<run id of a cell>; 'mlp-med study status resolution_matters' lists them" >&2; exit 2; }
	$(MLP_MED) rerun $(RUN)

ui: install-study  ## MLflow's own UI over the ledger, on the loopback; Ctrl-C ends every process
	$(MLP_MED) ui

serve: install-test  ## MLflow's own tracking server for studies on many machines, on the loopback (the extra server is in the tests' lock)
	$(MLP_MED) serve --directory $(RUNS)/server

bench: install-study  ## our training step beside PyTorch's: a table, a figure and their JSON in build/bench
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0' numpy
	$(VENV)/bin/python benchmarks/step_time.py --torch-python $(BENCH_VENV)/bin/python --out build/bench

# ---- development
# One process of tests more than cores: many tests wait for something else.
test: install-test  ## install, lint, types, tests but for the slow ones (aim: ≤15 minutes on 2 cores; measured: README)
	$(MAKE) --no-print-directory lint
	$(VENV)/bin/pytest --quiet --numprocesses 3 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: install-test  ## those: a real PostgreSQL, a server killed in mid-study, workers on Ray, nodes that are lost
	$(VENV)/bin/pytest --quiet -m slow

faults: install-test  ## the faults that the tests inject on purpose: what is seen, what is lost, how it goes on; a table in build/faults.md
	$(VENV)/bin/pytest --quiet --numprocesses 2 --dist loadfile -m fault --fault-table=build/faults.md
	@cat build/faults.md

fuzz: install-test  ## read MUTANTS spoilt files of every format; a table in build/fuzz (about 20 minutes on 2 cores)
	$(VENV)/bin/python -m tests.fuzzing.fuzz --mutants $(MUTANTS) --out build/fuzz

audit: install-test  ## look both locks up among the known vulnerabilities; fails where nobody answers
	$(VENV)/bin/python requirements/audit.py requirements/study.txt requirements/test.txt

lint: install-test  ## ruff, mypy, import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Every extra but gpu and bench is resolved once, together; the lock of the studies is cut from that.
lock: install-test  ## resolve the dependencies again
	$(call compile,--extra cpu --extra dev --extra slides --extra beam --extra ray --extra server --upgrade --output-file requirements/test.txt)
	$(call compile,--extra cpu --constraint requirements/test.txt --output-file requirements/study.txt)
compile = echo 'setuptools>=77' | $(VENV)/bin/uv pip compile pyproject.toml - $(1) --quiet \
	--universal --python-version 3.11 --generate-hashes --no-annotate --no-header

clean:  ## remove data, ledger, reports and the environment
	rm -rf $(DATA) $(RUNS) $(REPORTS) $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
