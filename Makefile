# One vocabulary for hands, hooks and CI. Needs Python 3.11 to 3.13, git and make.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
JOBS ?= 2
ROOMS := holdfast flows serving tasks projects monitoring models data

.PHONY: help demo test check up down docs bench reference calibration soak format install

help:
	@echo 'make demo    install, then close the whole loop on real images (about 3 minutes after installation)'
	@echo 'make test    install, then run every test (about half an hour on 2 cores)'
	@echo 'make check   formatting, lint, types, direction of imports'
	@echo 'make up      start the stack in the foreground; make down stops it'
	@echo 'make docs    write the generated pages; make bench measures speed, make calibration false alarms'
	@echo 'make reference [ONLY="iris heart"] runs every project at full size (an hour or two) and writes docs/reference.md'
	@echo 'make soak    the long failure tests; SEED=7 repeats a run'

install: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo 'Holdfast needs Python 3.11, 3.12 or 3.13 on the PATH' >&2; exit 1; }
	@echo 'installing into .venv from requirements.lock (a few minutes the first time)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -m compileall -q $(ROOMS)
	@touch $@

demo: install
	@$(BIN)/holdfast demo

# What is CPU-bound runs in two processes; nothing runs beside the stack of the end-to-end tests.
test: install
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup tests/unit tests/model tests/integration
	@$(BIN)/python -m pytest tests/end_to_end

check: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

up: install
	@$(BIN)/holdfast up

down: install
	@$(BIN)/holdfast down

docs: install
	@$(BIN)/python -m holdfast.reference

bench: install
	@$(BIN)/python bench/drift.py
	@$(BIN)/python bench/serving.py

# Goes on where it was; ONLY="iris heart", AGAIN=1
reference: install
	@$(BIN)/python bench/reference.py $(if $(ONLY),--only $(ONLY)) $(if $(AGAIN),--again)

calibration: install
	@$(BIN)/python bench/false_alarms.py

soak: install
	@$(BIN)/python -m pytest --soak -m soak $(if $(SEED),--seed=$(SEED))
