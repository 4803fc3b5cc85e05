# Two commands matter: `make demo` and `make test`. Each sets up what it needs, from the lock, into a virtual environment.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Another Python, as in `make test PYTHON=python3.12`, gets an environment of its own.
OTHER := $(if $(filter file,$(origin PYTHON)),,-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
VENV := .venv$(OTHER)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
# uv does not read pip's configuration: pass on the index that pip uses.
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2> /dev/null)}}" \
	$(BIN)/uv pip install -q --python $(BIN)/python

.PHONY: help demo test quick check docs faults kernel notebooks-test package browser chromium notebooks screenshots lab bench soak bench-peers lock clean
PYTEST := $(BIN)/python -m pytest -q -n logical --dist loadgroup
IN_PROCESS := tests --ignore=tests/kernel --ignore=tests/browser

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@# pip installs uv alone, which is ten times as fast with the rest. Both check the lock's hashes.
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	$(UV) --require-hashes -r requirements.lock
	$(UV) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## run the quickstart headless on the offline model, and say who did what
	@$(BIN)/python notebooks/demo.py

test: check docs kernel notebooks-test browser  ## everything: lint, types, docs, unit, kernel, notebook, wheel and browser tests

quick: $(STAMP)  ## format, lint, types and unit tests: for every save
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(PYTEST) $(IN_PROCESS) -m "not faults and not package"

check: $(STAMP)  # the same, changing nothing, with the faults of providers and with coverage
	$(BIN)/ruff format -q --check .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(PYTEST) --cov --cov-report= $(IN_PROCESS) -m "not package"
	$(BIN)/coverage report --fail-under=95
	$(BIN)/coverage report --fail-under=100 --include='*/turns.py,*/session.py,*/store/*.py' > /dev/null

docs: $(STAMP)  ## build the documentation in docs/_build/html; a warning is an error
	$(BIN)/python docs/magics.py
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs docs/_build/html

faults: $(STAMP)  # what providers do wrong, over every way to a model
	$(PYTEST) tests/models -m faults

kernel: $(STAMP)  # real kernels, and the wheel
	$(PYTEST) tests/kernel tests/package -m "kernel or package"

notebooks-test: $(STAMP)
	PYTHONPATH=tests/support/offline $(PYTEST) --dist loadfile -p nbval.plugin --nbval --nbval-current-env --nbval-cell-timeout 300 notebooks

package: $(STAMP)
	$(PYTEST) tests/package

browser: $(STAMP) chromium
	$(PYTEST) tests/browser

chromium:  # installs it where it can; without it the browser tests fail in CI, and say elsewhere that they did not run
	@command -v chromium chromium-browser google-chrome > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
		&& apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium > /dev/null; } \
		|| echo "no Chromium here and no way to install one"

notebooks: $(STAMP)  ## run the notebooks and store their outputs
	cd notebooks && WHISPER_MODEL= ../$(BIN)/jupyter nbconvert --log-level ERROR --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False --ExecutePreprocessor.store_widget_state=False *.ipynb

screenshots: $(STAMP) chromium  ## take the pictures of panel and form anew
	PYTHONPATH=tests $(BIN)/python tests/browser/screenshots.py

lab: $(STAMP)  ## open the quickstart in JupyterLab
	$(BIN)/jupyter lab notebooks/01_quickstart.ipynb

bench: $(STAMP)  ## measure what it costs, as ratios to baselines; reported, not gated; ROUNDS=2 for fewer rounds
	@ROUNDS=$(or $(ROUNDS),5) $(BIN)/python -m benchmarks

soak: $(STAMP)  ## run one agent 200,000 times, and show that memory stays flat
	@$(BIN)/python -m benchmarks.soak

bench-peers: $(STAMP) $(PEERS)/.installed  ## the same work by other frameworks, in an environment of their own
	@$(BIN)/python -m benchmarks.peers

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -q --disable-pip-version-check -r $<
	@touch $@

lock: $(STAMP)  ## resolve the dependencies anew
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--no-emit-find-links --python-version 3.11 --all-extras --no-emit-package whisper-nb pyproject.toml -o requirements.lock

clean:  ## remove the environment and caches
	rm -rf .venv .venv-* dist docs/_build docs/tutorials .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
