# Two commands matter: `make demo` and `make test`. Each sets up what it needs, from the lock, into .venv.

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help demo test quick lab bench lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## run the quickstart headless on the offline model, and say who did what
	@$(BIN)/python notebooks/demo.py

quick: $(STAMP)  ## format, lint, types and unit tests: for every save
	$(BIN)/ruff format -q .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not kernel and not browser and not package"

lab: $(STAMP)  ## open the quickstart in JupyterLab
	$(BIN)/jupyter lab notebooks/01_quickstart.ipynb

lock: $(STAMP)  ## resolve the dependencies anew
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--no-emit-find-links --python-version 3.11 --all-extras --no-emit-package whisper-nb pyproject.toml -o requirements.lock

clean:  ## remove the environment and caches
	rm -rf .venv dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
