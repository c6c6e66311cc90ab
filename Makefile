# `make test` and `make demo` need Python 3.11 or newer and nothing else.

PYTHON ?= python3
PYTEST_ARGS ?=
DEMO_ARGS ?=

BIN := .venv/bin
READY := .venv/installed
EXTRAS := pytorch,tensorflow,flax,test,bench
DEMO_INPUT := runs/demo-input

# Models and data are made here or installed: nothing is fetched at run time.
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
# The models here are tiny: a second thread costs more than it gives.
export OMP_NUM_THREADS ?= 1
export TF_NUM_INTRAOP_THREADS ?= 1

.PHONY: test demo lint format setup clean

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder \
		conformance tests $(PYTEST_ARGS)

# One recipe through every trainer on ACLSum: runs/demo/compare.html
demo: $(READY) $(DEMO_INPUT)/made
	$(BIN)/python -m conformance compare --trainers all \
		--model_name_or_path $(DEMO_INPUT)/model \
		--train_file $(DEMO_INPUT)/train.csv \
		--validation_file $(DEMO_INPUT)/validation.csv \
		--test_file $(DEMO_INPUT)/test.csv \
		--text_column text --summary_column summary \
		--source_prefix "summarize: " \
		--max_source_length 128 --max_target_length 64 \
		--max_eval_samples 20 --max_predict_samples 10 --num_beams 2 \
		--do_train --do_eval --do_predict --predict_with_generate \
		--per_device_train_batch_size 4 --per_device_eval_batch_size 10 \
		--learning_rate 5e-3 --num_train_epochs 8 --warmup_steps 10 \
		--logging_steps 10 --save_strategy no --report_to none --use_cpu \
		--output_dir runs/demo --overwrite_output_dir $(DEMO_ARGS)

# No dropout: its masks differ from one framework to another, the rest does not.
# Gated, which is smooth: at a ReLU's kink a rounding error turns a gradient on or off,
# and Adam makes a whole step of it. 300 pieces are few enough to be learned in a minute.
$(DEMO_INPUT)/made: $(READY)
	$(BIN)/python -m fixtures aclsum $(DEMO_INPUT)
	$(BIN)/python -m fixtures tiny $(DEMO_INPUT)/model --texts aclsum \
		--vocab_size 300 --gated --dropout 0
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

$(READY): pyproject.toml constraints/cpu.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints/cpu.txt \
		--editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf .venv .tox runs build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
