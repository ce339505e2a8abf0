# `make run` needs Python 3.11 and the Python package index, nothing else.  `make test` needs a Debian
# and root: a part of the tests puts the guard in front of a real sendmail.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes

# What the tests run.  libsasl2-modules: AUTH PLAIN and LOGIN of sendmail; libnet-ssleay-perl: TLS of swaks;
# haproxy: a balancer with PROXY headers, of which the tests run their own; systemd: systemd-analyze and
# systemd-socket-activate; gcc: compiles what tools/compile.py says; prometheus: promtool; chromium: looks at the
# status page; redis-server: guards that count together; rsyslog, logrotate, fail2ban: read what the guard logs;
# libfaketime: clocks that jump; mandoc, man-db: the manual pages; curl, sqlite3: what the docs have typed; tcpdump: what
# `smtpguard replay` reads; zsh, fish: complete the command line; debhelper, lintian, mmdebstrap: the Debian
# package, and a bare Debian to install it on.
DEBIAN_PACKAGES := sendmail-bin sendmail-cf m4 sasl2-bin libsasl2-modules swaks libnet-ssleay-perl nmap haproxy \
	util-linux mount hostname iproute2 systemd gcc libc6-dev prometheus chromium redis-server rsyslog logrotate fail2ban \
	libfaketime mandoc man-db curl sqlite3 tcpdump zsh fish debhelper lintian mmdebstrap

# Mail servers that cannot be installed side by side; tests/mtas runs them from this folder.  nginx: its mail proxy, for
# tests/bench; installed, it would be a web server that runs.
MTAS := .mtas
UNPACKED_PACKAGES := postfix exim4-daemon-light opensmtpd libnginx-mod-mail

# Archives of what tests/setup installs anew, in a root file system of its own.
FRESH_PACKAGES := sendmail-base sendmail-cf sendmail-bin sensible-mda procmail

# A mail server and proxy for Node.js, of the npm registry; only `make bench` looks for it.
HARAKA := Haraka@3.3.4

# How long `make fuzz` looks, and where it begins.
SECONDS := 600
SEED := 1

# An environment of Debian's Python, for the Debian package.
BUILDER := $(CURDIR)/build/builder

UV := uv==0.13.9
COMPILE = uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-emit-index-url --custom-compile-command "make lock"

.NOTPARALLEL:
.PHONY: run test test-compiled test-long compiled wheel deb fuzz fuzz-guided bench plots profile haraka lint types imports \
	format docs site lock clean packages mtas root

run: $(VENV)/.runtime
	$(BIN)/python -m smtpguard demo

# Four files at a time, where nothing looks at the time that something takes: packages and machines are built, parsers
# are asked.  A file's tests stay together, with what they share.  All else goes one after the other.
SIDE_BY_SIDE := -n 4 --dist loadfile --no-loadscope-reorder
PATIENT := $(addprefix tests/,audit bench cli config documented fuzz guided identity models mtas packaging page policy \
	recordings sendmail_files setup smtp tls transcripts vectors)

test: packages mtas $(VENV)/.development
	$(MAKE) --no-print-directory lint types imports
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long" $(PATIENT)
	$(BIN)/python -m pytest -m "not long" $(addprefix --ignore=,$(PATIENT))
	$(MAKE) --no-print-directory test-compiled

# The proof once more, on the modules that tools/compile.py compiles.
COMPILED := build/compiled
PROOF := tests/smtp tests/policy tests/journal tests/net tests/sessions tests/models tests/vectors tests/transcripts \
	tests/fuzz tests/sendmail tests/transport tests/workers tests/limits tests/metrics \
	$(addprefix tests/backends/test_,pool.py health.py relay_check.py relay_watch.py)

compiled: $(VENV)/.development
	$(BIN)/python tools/compile.py $(COMPILED)

test-compiled: packages mtas compiled
	cd $(COMPILED) && .venv/bin/python -c "import smtpguard.smtp.dialogue as d, sys; sys.exit(d.__file__.endswith('.py'))"
	cd $(COMPILED) && .venv/bin/python -m pytest $(SIDE_BY_SIDE) -m "not long and not interpreted" \
		$(filter $(PATIENT),$(PROOF))
	cd $(COMPILED) && .venv/bin/python -m pytest -m "not long and not interpreted" $(filter-out $(PATIENT),$(PROOF))

# For hosts like this one; without a C compiler it is one for all hosts, and slower.
wheel: $(VENV)/.development
	$(BIN)/python -m build --no-isolation --wheel

# build/deb/smtpguard_VERSION_ARCHITECTURE.deb, with Debian's own Python: docs/packaging.md.  Needs debhelper, gcc,
# python3-dev and python3-venv.
deb:
	$(MAKE) --no-print-directory VENV=$(BUILDER) PYTHON=/usr/bin/python3 $(BUILDER)/.development
	BUILDER=$(BUILDER) tools/debian-package build/deb

test-long: packages mtas $(VENV)/.development
	$(MAKE) --no-print-directory lint types imports
	LONG=1 $(BIN)/python -m pytest

# Streams of a seeded generator before models of mail servers; one that breaks a promise is made small
# and saved in tests/fuzz/found.
fuzz: $(VENV)/.development
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

# libFuzzer on each parser; what it finds is saved in tests/guided/found.
fuzz-guided: $(VENV)/.development
	$(BIN)/python -m tests.guided all --seconds $(SECONDS) --seed $(SEED)

# What a session costs beside the peers; BENCH names figures and flags, all figures without it.
# The compiled guard, which logs refusals and no more; BENCH takes further flags.
MEASURED := --guard-tree $(COMPILED) --guard-settings 'log: {level: 6}'

bench: packages mtas compiled
	$(BIN)/python -m tests.bench $(MEASURED) $(BENCH) --output build/bench.json

# The same and how cost grows, into docs/performance, with pictures, and tables in docs/performance.md.
plots: packages mtas compiled
	$(BIN)/python -m tests.bench --all $(MEASURED) $(BENCH) --output docs/performance/results.json
	$(BIN)/python -m tests.bench.plots docs/performance/results.json docs/performance
	$(BIN)/python -m tests.bench.quoting docs/performance/results.json docs/performance.md

# A flame graph of the guard under load, build/profile.svg.
profile: packages mtas $(VENV)/.development
	$(BIN)/python -m tests.bench.profile build/profile.svg

# A peer that `make bench` measures if it is there.  No scripts: all that it needs is JavaScript.
haraka:
	@command -v npm >/dev/null || { echo "make haraka needs Node.js 20 or later with npm" >&2; exit 1; }
	npm install --prefix $(MTAS)/haraka --ignore-scripts --no-audit --no-fund --loglevel=error $(HARAKA)

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.development
	$(BIN)/mypy

imports: $(VENV)/.development
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tables of docs/ that are made from the code.
docs: $(VENV)/.development
	$(BIN)/python -m smtpguard.config.reference settings >docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	$(BIN)/python -m smtpguard.config.reference replies >docs/replies.md.new
	mv docs/replies.md.new docs/replies.md
	$(BIN)/python -m smtpguard.metrics.reference docs/monitoring.md
	$(BIN)/python -m smtpguard.config.policy_reference docs/policy.md
	$(BIN)/python -m smtpguard.config.schema settings >smtpguard/share/schema/smtpguard.yaml.schema.json
	$(BIN)/python -m smtpguard.config.schema policy >smtpguard/share/schema/policy.schema.json
	$(BIN)/python -m smtpguard.cli.completion smtpguard/share/completion
	$(BIN)/python -m smtpguard.cli.manual smtpguard/share/man/man*/*

# docs/ as pages to read in a browser, build/site, in the order of tools/site/mkdocs.yml.
site: $(VENV)/.development
	$(BIN)/mkdocs build --strict --config-file tools/site/mkdocs.yml --site-dir ../../build/site

# The newest versions that pyproject.toml allows, with the hashes of all their files, for every Python
# and platform; the development set has the runtime set's versions.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	build/lock/bin/$(COMPILE) --output-file requirements.lock
	build/lock/bin/$(COMPILE) --group dev --constraint requirements.lock --output-file requirements-dev.lock
	rm -rf build

clean:
	rm -rf $(VENV) $(MTAS) build dist docs/*.new .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find smtpguard tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The development set holds the runtime set, so that a virtual environment may grow from one to the other.
$(VENV)/.runtime: requirements.lock | $(BIN)/python
	$(PIP_INSTALL) -r requirements.lock
	touch $@

$(VENV)/.development: requirements-dev.lock | $(BIN)/python
	$(PIP_INSTALL) -r requirements-dev.lock
	touch $@ $(VENV)/.runtime

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "smtpguard needs Python 3.11 or later; name one with: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

root:
	@test "$$(id -u)" = 0 || { echo "make test must be run by root: it installs Debian packages, and its tests run \
	a real sendmail in namespaces of its own.  Without root: make lint types imports" >&2; exit 77; }

packages: root
	@tools/debian-packages $(DEBIAN_PACKAGES)

mtas: packages
	@tools/unpack-debian $(MTAS) $(UNPACKED_PACKAGES)
	@tools/fetch-debian $(MTAS)/archives $(FRESH_PACKAGES)
	@tools/bare-debian $(MTAS)/bookworm.tar
