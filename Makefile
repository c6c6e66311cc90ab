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
		conformance/laws conformance/meta tests $(PYTEST_ARGS)

# What a hundred papers teach, said on the page
DEMO_NOTE := A hundred papers teach a small new model what such papers say, and little \
	else. Dropout keeps it from learning them by heart: the eval scores below are of \
	papers that it was trained on, the predict scores and the predictions shown of \
	others, and they are alike. Two trainers ran at a time, one core each: the speeds \
	are of that.

# One recipe through every trainer on ACLSum: runs/demo/compare.html
demo: $(READY) $(DEMO_INPUT)/made
	$(BIN)/python -m conformance compare --trainers all --jobs 2 --note "$(DEMO_NOTE)" \
		--model_name_or_path $(DEMO_INPUT)/model \
		--train_file $(DEMO_INPUT)/train.csv \
		--validation_file $(DEMO_INPUT)/train.csv \
		--test_file $(DEMO_INPUT)/test.csv \
		--text_column text --summary_column summary \
		--source_prefix "summarize: " \
		--max_source_length 64 --max_target_length 48 \
		--max_eval_samples 50 --max_predict_samples 50 \
		--num_beams 8 --min_length 10 --no_repeat_ngram_size 2 \
		--do_train --do_eval --do_predict --predict_with_generate \
		--per_device_train_batch_size 8 --per_device_eval_batch_size 25 \
		--learning_rate 1.5e-3 --num_train_epochs 16 --warmup_steps 40 \
		--max_grad_norm 0.3 --adam_epsilon 1e-5 \
		--logging_steps 25 --save_strategy no --report_to none --use_cpu \
		--output_dir runs/demo --overwrite_output_dir $(DEMO_ARGS)

# A summary is one sentence: what came out of a paper. Dropout is T5's own, 0.1: all four
# drop the same elements. Rounding must not grow: hence a gated model (a ReLU has a kink
# where rounding turns a gradient on or off), and a large epsilon (AdamW makes a whole
# step of the smallest gradient).
$(DEMO_INPUT)/made: $(READY) Makefile
	$(BIN)/python -m fixtures aclsum $(DEMO_INPUT) --aspects outcome
	$(BIN)/python -m fixtures tiny $(DEMO_INPUT)/model --texts aclsum \
		--vocab_size 3000 --d_model 128 --gated
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
