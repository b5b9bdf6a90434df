# Every target starts from a fresh clone with nothing but Python and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install test demo lint clean

help:            ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

install: .venv/.installed  ## create .venv with the package and what developing it takes

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,nb201,onnx]'
	touch $@

test: install    ## run the whole suite
	$(BIN)/python -m pytest -n auto

demo: install    ## rank NAS-Bench-201 cells, check the ranking, prune a supernet; into demo/
	mkdir -p demo
	$(BIN)/zeroshot rank nasbench201 --sample 100 --small --proxies \
		params,depth,snip,synflow,naswot,meco,zico,flops,apd,az_expressivity,az_progressivity,az_trainability,jacob_cov,logsynflow \
		--batch-size 32 --out demo/scores.csv
	$(BIN)/zeroshot validate demo/scores.csv --truth nb201 --out demo
	test -e demo/pruned/architecture.json || \
		$(BIN)/zeroshot prune nasbench201 --criterion default --finalists 729 \
		--truth nb201 --out demo/pruned \
		$$(test -e demo/pruned/checkpoint.json && echo --resume)
	$(BIN)/zeroshot finetune demo/pruned --data digits --epochs 2 --channels 8 --cells 1 \
		--batch-size 32 $$(test -e demo/pruned/finetune/state.pt && echo --resume)

lint: install    ## check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:           ## remove what the targets above made
	rm -rf .venv demo
