# `make` lists the verbs. Everything is installed into .venv, from this project's own files.

SHELL := bash
PYTHON ?= python3
VENV ?= .venv
# What one backend is enough for runs with the first: PyTorch, which neither traces nor compiles.
BACKENDS ?= torch tensorflow jax
# Test files run side by side; each process computes on one thread.
WORKERS ?= 2
# More options for pytest (ARGS="-k dice") and for pip (PIP_ARGS="--extra-index-url ...").
ARGS ?=
PIP_ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2

# True when every file that the installed packages list is there.
COMPLETE := import importlib.metadata as m, sys; sys.exit(any(d.files is None or any( \
    "__pycache__" not in f.parts and not f.locate().exists() for f in d.files) \
    for d in m.distributions()))

# $(call install,EXTRAS): installs the package, editable, with these extras. The mark .installing
# outlives an installation that was cut off; the next one then looks for missing files and starts
# from an empty environment if there are any.
define install
@set -eo pipefail; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
    echo 'Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2; \
    exit 1; }; \
if [ -e $(VENV)/.installing ] && ! $(VENV)/bin/python -c '$(COMPLETE)'; then \
    echo 'The last installation was cut off and left gaps: making $(VENV) anew.'; \
    rm -rf $(VENV); \
fi; \
$(VENV)/bin/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); \
echo 'Installing keras-focusseg[$(1)] into $(VENV) ...'; \
touch $(VENV)/.installing; \
$(VENV)/bin/python -m pip install $(PIP_ARGS) --constraint constraints-test.txt \
    --editable '.[$(1)]' | { grep --line-buffered -v '^Requirement already satisfied' || true; }; \
rm -f $(VENV)/.installing; \
touch $@
endef

comma := ,
DESCRIPTION := pyproject.toml constraints-test.txt

.NOTPARALLEL:
.PHONY: help demo test recipes lint format docs tutorials bridges ray clean distclean ci

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo-installed ## segment rendered streets with the shipped presets, write demo/index.html
	KERAS_BACKEND=tensorflow $(VENV)/bin/python -m keras_focusseg.cli demo --out demo

test: $(VENV)/.test-installed ## run the suite on each backend (BACKENDS="torch jax", ARGS="-k dice")
	@set -o pipefail; mkdir -p .cache; status=0; summary=(); \
	trap 'exit 130' INT TERM; \
	chosen=(); : 'what one backend is enough for runs once'; \
	for backend in $(BACKENDS); do \
	    printf '\n=== %s\n' "$$backend"; \
	    log=.cache/test-$$backend.log; result=passed; start=$$SECONDS; \
	    KERAS_BACKEND=$$backend OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
	        $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --ignore tests/pages "$${chosen[@]}" $(ARGS) 2>&1 | tee "$$log" || \
	        { [ $$? -eq 5 ] && [ -n "$$chosen" ] && result=none; } || { result=FAILED; status=1; }; \
	    counts=$$(tail -n 1 "$$log" | sed -E 's/^=+ //; s/ =+$$//'); \
	    chosen=(-m 'not backend_free'); \
	    summary+=("$$(printf '%-11s %-7s %5d s  %s' \
	        "$$backend" "$$result" $$((SECONDS - start)) "$$counts")"); \
	done; \
	printf '\n=== summary\n'; printf '%s\n' "$${summary[@]}"; exit $$status

recipes: $(VENV)/.test-installed ## dry-run every recipe on the backends after the first, which make test has
	@status=0; \
	for backend in $(wordlist 2,9,$(BACKENDS)); do \
	    printf '\n=== %s\n' "$$backend"; \
	    KERAS_BACKEND=$$backend OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
	        $(VENV)/bin/python -m pytest -n $(WORKERS) tests/training/test_dry_run.py::test_dry_run || \
	        status=1; \
	done; \
	exit $$status

lint: $(VENV)/.lint-installed ## check formatting, style and types
	@status=0; \
	for check in 'ruff format --check .' 'ruff check .' mypy; do \
	    echo "$$check"; $(VENV)/bin/python -m $$check || status=1; \
	done; \
	exit $$status

format: $(VENV)/.lint-installed ## put the sources into the project's format
	$(VENV)/bin/python -m ruff format .
	$(VENV)/bin/python -m ruff check --fix .

# Never with --quiet: it drops the warnings that --strict counts.
docs: tutorials ## build the documentation into site/, a warning is an error, open every page and run the examples
	KERAS_BACKEND=tensorflow $(VENV)/bin/python tools/in_browser.py
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict
	$(VENV)/bin/python -m pytest -q -rs -p no:cacheprovider tests/pages

tutorials: $(VENV)/.docs-installed ## run the tutorials that changed; writes their pages and notebooks
	$(VENV)/bin/python tools/tutorials.py

ci: ## everything that .ci/run checks: lint, test, recipes, docs
	.ci/run

# In an environment of its own: KerasHub brings the full `tensorflow` wheel.
bridges: $(VENV)-bridges/.installed ## run the tests of KerasHub and keras-cv backbones, in .venv-bridges
	KERAS_BACKEND=tensorflow $(VENV)-bridges/bin/python -m pytest $(ARGS) tests/backbones/test_bridges.py

# In an environment of its own: Ray and what it brings are large, and start slowly.
ray: $(VENV)-ray/.installed ## run the tests of segmenting on a Ray cluster, in .venv-ray
	KERAS_BACKEND=torch $(VENV)-ray/bin/python -m pytest $(ARGS) tests/cli/test_shards.py

clean: ## remove what was built or cached; keeps .venv and runs/
	rm -rf build dist site demo *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv too
	rm -rf $(VENV) $(VENV)-bridges $(VENV)-ray

$(VENV)/.demo-installed: $(DESCRIPTION)
	$(call install,tensorflow-cpu)

$(VENV)/.test-installed: $(DESCRIPTION)
	$(call install,tensorflow-cpu$(comma)jax$(comma)torch$(comma)tfds$(comma)cv$(comma)dev)

$(VENV)-bridges/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)-bridges
	$(VENV)-bridges/bin/python -m pip install --quiet $(PIP_ARGS) --constraint constraints-test.txt \
	    --editable '.[tensorflow,hub,cv]' pytest
	touch $@

$(VENV)-ray/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)-ray
	$(VENV)-ray/bin/python -m pip install --quiet $(PIP_ARGS) --constraint constraints-test.txt \
	    --editable '.[torch,ray]' pytest
	touch $@

$(VENV)/.lint-installed: $(DESCRIPTION)
	$(call install,lint)

$(VENV)/.docs-installed: $(DESCRIPTION)
	$(call install,docs$(comma)browser$(comma)tensorflow-cpu)
