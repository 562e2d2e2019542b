# pyruntime: `make help` lists the targets.
PYTHON   ?= python3
VENV     := .venv
PY       := $(VENV)/bin/python
NATIVE   := pyruntime/native
STUB     := $(NATIVE)/stub
# The programs in C: $(NATIVE)/NAME/NAME, built from all sources in its directory.
PROGRAMS := stub monitor proxy init
BUILT    := $(foreach name,$(PROGRAMS),$(NATIVE)/$(name)/$(name))
C_FILES  := $(wildcard $(NATIVE)/*/*.c $(NATIVE)/*/*.h tests/native/*.c)
WARN     := -std=c11 -Wall -Wextra -Werror -Wshadow -Wno-missing-field-initializers
# With musl the stub has a tenth of its size with glibc; every page of it counts in a waiting container. The compiler is chosen when
# a program is compiled, not when this file is read: the first build on a host installs musl in between.
STUB_CC   = $(if $(shell command -v musl-gcc),musl-gcc -idirafter /usr/include -idirafter /usr/include/$(shell gcc -dumpmachine),$(CC))

# The stamp of tools/install-deps. A build that must not install packages (by pip or a distribution) sets PACKAGES= (empty).
PACKAGES := build/.packages

.PHONY: all help deps demo test test-critest test-vm conformance fuzz bench lint generate clean

STATIC   := -static -Os $(WARN) -fno-asynchronous-unwind-tables -s

all: $(VENV)/.installed $(VENV)/.bytecode $(BUILT)  ## build everything into .venv

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: build/.packages  ## install the Debian/Ubuntu packages that building needs

build/.packages: tools/install-deps
	@tools/install-deps
	@mkdir -p $(@D) && touch $@

$(VENV)/.installed: setup.cfg setup.py pyproject.toml $(NATIVE)/build_kernel.py $(NATIVE)/build_seccomp.py $(STUB)/stub | $(PACKAGES)
	@echo "make: installing Python packages into $(VENV): cffi jeepney jsonschema pyroute2 python-dateutil PyYAML rich backports.zstd, and for tests hypothesis mypy pytest ruff"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --upgrade pip setuptools wheel cffi
	@$(PY) -m pip install -q --no-build-isolation -e '.[dev]'
	@touch $@

$(VENV)/.bytecode: $(VENV)/.installed $(shell find pyruntime -name '*.py')
	@$(PY) -m pyruntime.commandline.entry $(VENV)/bin
	@touch $@

define program
$(NATIVE)/$(1)/$(1): $(wildcard $(NATIVE)/$(1)/*.c $(NATIVE)/$(1)/*.h) | $(PACKAGES)
	$$(STUB_CC) $$(STATIC) -o $$@ $$(filter %.c,$$^)
endef
$(foreach name,$(PROGRAMS),$(eval $(call program,$(name))))

# The commands of an installed package are one program under three names.
build/front/pyruntime build/front/pyimage build/front/pocker: $(NATIVE)/front/front.c | $(PACKAGES)
	@mkdir -p $(@D)
	$(STUB_CC) $(STATIC) -o $@ $<

generate:  ## generate native/stub/steps.h, config/_shape.py and the golden plans
	$(PY) -m pyruntime.runtime.plan.generate > $(STUB)/steps.h
	$(PY) -m pyruntime.runtime.config.generate
	$(PY) -m bundles.golden
	$(PY) -m docs.generate > docs/plan.md

demo: all  ## create the sample bundle and run its container through the whole lifecycle
	@tools/demo

test: all  ## run all tests that the host can run
	@tools/install-deps test
	@$(MAKE) -s lint
	$(PY) -m pytest

test-vm: all  ## run the tests and the official suite in a Debian guest with cgroup v2 and systemd
	@tools/install-deps vm
	tests/vm/run

test-critest: all  ## run critest (CRITEST=path) under containerd with runc and with pyruntime, print both counts
	@tools/install-deps test
	$(PY) -m tests.clients.critest "$(CRITEST)" $(ARGS)

RUNTIME ?= $(CURDIR)/$(VENV)/bin/pyruntime
conformance: all  ## test RUNTIME=path (and AGAINST=path) with the official suite and our own cases
	@tools/install-deps conformance
	$(PY) -m conformance --runtime "$(RUNTIME)" $(if $(AGAINST),--against "$(AGAINST)") $(ARGS)

FUZZ_SECONDS ?= 300
fuzz: $(STUB)/plan.c  ## fuzz the plan decoder for FUZZ_SECONDS
	@mkdir -p build/fuzz
	clang -g -O1 -I$(STUB) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o build/fuzz/plan \
		tests/native/fuzz_plan.c $(STUB)/plan.c
	$(PY) -c 'from bundles.build import names; from bundles.golden import reference_plan; from pyruntime.runtime.plan.encode \
		import encode; [open(f"build/fuzz/seed-{n}", "wb").write(encode(reference_plan(n).steps)) for n in names()]'
	cd build/fuzz && ./plan -max_total_time=$(FUZZ_SECONDS) -max_len=16384 .

bench: all  ## compare with installed peers (ARGS=--record: update the documents)
	$(PY) -m bench $(ARGS)

lint: $(VENV)/.bytecode  ## ruff, mypy --strict, clang-format
	$(VENV)/bin/ruff check -q pyruntime bundles conformance tests spec bench
	$(VENV)/bin/mypy --no-error-summary
	@! command -v clang-format >/dev/null || clang-format --dry-run -Werror $(filter-out $(STUB)/steps.h,$(C_FILES))

clean:  ## remove all build results
	rm -rf $(VENV) build *.egg-info $(BUILT) $(NATIVE)/_*.so $(NATIVE)/_*.c
