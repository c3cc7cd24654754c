# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Each target does all of its own set-up, in .venv. Choose another Python with: make test PYTHON=python3.13

PYTHON ?= python3
DEMO := .venv/demo
DEV := .venv/dev
# Another Python makes another environment.
READY := ready-$(notdir $(PYTHON))

.PHONY: help demo test dev bench python clean

help:
	@echo "make demo    set up, and run the collection on a simulated fleet (KEEP=1 leaves the fleet running; LMSTUDIO_URL=http://gpu01:1234 asks that server instead)"
	@echo "make test    set up, and run the tests"
	@echo "make bench   set up, measure what the plugins cost, and write the tables of docs/performance.md (nginx needed; takes some hours)"
	@echo "make clean   remove what the others made"

demo: $(DEMO)/$(READY)
	@KEEP=$(KEEP) $(DEMO)/bin/python tests/demo/demo.py $(DEMO)/run

test: dev
	$(DEV)/bin/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

dev: $(DEV)/$(READY)

bench: dev
	$(DEV)/bin/nox -s bench -- --profile --memory --write
	$(DEV)/bin/nox -s bench -- --write

python:
	@version=$$($(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null); \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "Python 3.10 or later is needed, $(PYTHON) $${version:+is }$${version:-was not found}. Choose another with: make PYTHON=python3.12 ..."; exit 1; }

$(DEMO)/$(READY): requirements.txt | python
	@echo "Setting up $(DEMO): pip gets ansible-core and a few libraries from your package index."
	@$(PYTHON) -m venv --clear $(DEMO)
	@$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check 'ansible-core>=2.16' -r requirements.txt
	@touch $@

$(DEV)/$(READY): requirements.txt requirements-dev.txt | python
	@echo "Setting up $(DEV): pip or uv gets ansible-core and the tools of the tests from your package index, which takes a minute or two."
	@$(PYTHON) -m venv --clear $(DEV)
	@$(DEV)/bin/python .ci/install.py $(DEV)/bin/python 'ansible-core>=2.16' -r requirements.txt -r requirements-dev.txt
	@touch $@

clean:
	rm -f gpufleet-lmstudio-*.tar.gz
	rm -rf .venv .nox .pytest_cache .mypy_cache .ruff_cache .hypothesis collections tests/output
