# Everything sets itself up: `make repro` and `make test` need Python 3.11 or newer, git and make, nothing else.
PYTHON ?= python3
VENV ?= $(CURDIR)/.venv
export PATH := $(VENV)/bin:$(PATH)
export PYTHONPATH := src
export PYTHONWARNINGS := ignore
# The stamp carries a hash of what is installed, so that another clone with the same pins finds its environment ready.
READY := $(VENV)/.ready-$(shell cat constraints.txt pyproject.toml | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help repro smoke predict recolor test test-all lint format report notebooks docs setup clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

repro: $(READY) ## run the whole DAG, then print the metrics
	@dvc repro
	@visage metrics
	@echo "Look at it: make report (one page), dvc plots show; the models: artifacts/models/; the runs: visage runs"

smoke: $(READY) ## the whole DAG at its smallest, in a few minutes (changes params.yaml: git checkout brings it back)
	@visage compose experiment=smoke && dvc repro && visage metrics

predict: $(READY) ## PICTURES=photos/: hair masks and classes of your own pictures, into predictions/
	$(if $(PICTURES),,$(error which pictures? make predict PICTURES=photos/))
	@failed=0; for model in hair faces; do \
		visage predict $$model $(PICTURES) --out predictions/$$model || failed=1; done; exit $$failed

recolor: $(READY) ## PICTURE=me.jpg COLOR=auburn: the picture with that hair, as predictions/recolored.png
	$(if $(and $(PICTURE),$(COLOR)),,$(error which picture and colour? make recolor PICTURE=me.jpg COLOR=auburn))
	@visage recolor $(PICTURE) --color '$(COLOR)' --out predictions/recolored.png

test: $(READY) ## the tests, under twenty minutes
	@python -m pytest -n 2 --dist loadfile

test-all: $(READY) ## the slow tests too
	@python -m pytest -n 2 --dist loadfile -m ''

lint: $(READY) ## linter, formatter and type checker
	@ruff check . && ruff format --check . && mypy

format: $(READY) ## put the code into the house format
	@ruff check --fix . ; ruff format .

report: $(READY) ## one offline page with every metric, plot and picture: report.html
	@visage report

docs: $(READY) ## the documentation as a site, into site/: open site/index.html
	@mkdocs build --strict --quiet

notebooks: $(READY) ## every notebook, executed into artifacts/notebooks/ (after make repro)
	@mkdir -p artifacts/notebooks
	@for book in notebooks/*.ipynb; do papermill --cwd . $$book artifacts/$$book || exit 1; done

setup: $(READY) ## only the virtual environment

# mediapipe pulls a second OpenCV over the same files; exactly one may stay, the headless one.
$(READY):
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or newer is needed, $(PYTHON) is %d.%d: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (torch alone is gigabytes: a few minutes)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(VENV)/bin/python -m pip uninstall --quiet --yes opencv-contrib-python opencv-python opencv-python-headless 2>/dev/null
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt opencv-python-headless
	@touch $(READY)

clean: ## remove what stages made and the page (DVC's cache stays)
	@rm -rf artifacts data/processed data/synthetic report.html dvc_plots site
