# pyruntime: `make help` lists the targets.
PYTHON   ?= python3
VENV     := .venv
PY       := $(VENV)/bin/python
NATIVE   := pyruntime/native
SOURCES  := $(filter-out $(NATIVE)/_%.c,$(wildcard $(NATIVE)/*.c))
HEADERS  := $(wildcard $(NATIVE)/*.h)
WARN     := -std=c11 -Wall -Wextra -Werror -Wshadow -Wno-missing-field-initializers
# musl makes a stub of a tenth of glibc's size; every page of it counts in a waiting container.
MUSL     := $(shell command -v musl-gcc 2>/dev/null)
STUB_CC  := $(if $(MUSL),musl-gcc -idirafter /usr/include -idirafter /usr/include/$(shell gcc -dumpmachine),$(CC))

.PHONY: all help deps demo test test-vm conformance bench lint format generate clean

all: $(VENV)/.installed $(NATIVE)/stub  ## build everything into .venv

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps:  ## install the Debian/Ubuntu packages that building and testing need
	@tools/install-deps

$(VENV)/.installed: setup.cfg setup.py pyproject.toml $(NATIVE)/build_kernel.py $(NATIVE)/build_seccomp.py $(NATIVE)/stub
	@tools/install-deps
	@echo "make: installing Python packages into $(VENV): cffi jsonschema pyroute2 python-dateutil, and for tests hypothesis mypy pytest ruff"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --upgrade pip setuptools wheel cffi
	@$(PY) -m pip install -q --no-build-isolation -e '.[dev]'
	@$(PY) -m pyruntime.cli.entry $(VENV)/bin
	@touch $@

$(NATIVE)/stub: $(SOURCES) $(HEADERS)
	@command -v gcc >/dev/null || tools/install-deps
	$(STUB_CC) -static -Os $(WARN) -fno-asynchronous-unwind-tables -s -o $@ $(SOURCES)

generate:  ## write native/steps.h anew from plan/steps.py
	$(PYTHON) -m pyruntime.plan.generate > $(NATIVE)/steps.h

clean:  ## remove what was built
	rm -rf $(VENV) build *.egg-info $(NATIVE)/stub $(NATIVE)/_*.so $(NATIVE)/_*.c
