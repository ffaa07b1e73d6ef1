# pixeld: build, try, test, install.

PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
LIBEXECDIR ?= $(PREFIX)/libexec
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
CATALOGDIR ?= $(PREFIX)/lib/systemd/catalog
INSTALL ?= install
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
FISHCOMPDIR ?= $(PREFIX)/share/fish/vendor_completions.d
# Debian's zsh and Ubuntu's look below /usr in a folder of their own.
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/$(if $(and $(filter /usr,$(PREFIX)),$(wildcard /etc/debian_version)),vendor-completions,site-functions)

# The compiler: what CARGO and RUSTC name, or the newest one that is here (packaging/build-requirements). cargo-1.97
# goes with rustc-1.97. RUSTC is not exported without need, because build scripts run again when it changes.
export CARGO := $(or $(CARGO),$(shell packaging/build-requirements cargo))
RUSTC := $(or $(RUSTC),$(shell echo '$(CARGO)' | sed 's,cargo\([^/]*\)$$,rustc\1,'))
ifneq ($(RUSTC),rustc)
export RUSTC
endif

# ARCH=amd64 or ARCH=arm64 cross-compiles unless this machine has that architecture. CROSS is Rust's name of it then, and
# CROSS_TOOLS the beginning of the names of its tools.
HOST := $(shell '$(RUSTC)' -vV 2>/dev/null | sed -n 's/^host: //p')
TRIPLE_amd64 = x86_64-unknown-linux-gnu
TRIPLE_arm64 = aarch64-unknown-linux-gnu
TRIPLE := $(if $(ARCH),$(or $(TRIPLE_$(ARCH)),$(error ARCH=$(ARCH): pixeld is built for amd64 and arm64)),$(HOST))
CROSS := $(filter-out $(HOST),$(TRIPLE))
CROSS_TOOLS = $(if $(CROSS),$(subst -unknown-,-,$(CROSS))-)
FOR_CROSS = $(if $(CROSS),--target $(CROSS))

# Where `make install` takes the binaries from, and the shells for which pixeldctl's command line is completed.
# This folder, CARGO_HOME and DESTDIR may have spaces in their names: quote each where a shell reads it, and
# make no list of them that make itself takes apart.
TARGET = $(or $(CARGO_TARGET_DIR),target)
BUILD = $(TARGET)/$(if $(CROSS),$(CROSS)/)release
COMPLETIONS = bash zsh fish
PAGES = $(wildcard man/*.[1578])
# Without those that lead to another one, under the name of a unit.
WHOLE_PAGES = $(filter-out %.service.8,$(PAGES))
UNITS = $(wildcard systemd/*.service systemd/*.socket systemd/*.timer)
# Those that can be enabled.
STOPPED = $(filter-out pixeld-metrics.service,$(notdir $(UNITS)))
# Not empty if the install is for this host, and systemd runs it.
RUNS = $(if $(DESTDIR),,$(wildcard /run/systemd/system))
NGINX_DROP_IN = /etc/systemd/system/nginx.service.d/pixeld.conf

# The binaries name no folder of this machine, so that they are the same wherever they are built. The
# last name counts: the target folder may be inside the checkout, or not.
REMAP = "--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/usr/src/cargo", \
	"--remap-path-prefix=$(shell '$(RUSTC)' --print sysroot)=/usr/src/rust", \
	"--remap-path-prefix=$(CURDIR)=/usr/src/pixeld", \
	"--remap-path-prefix=$(shell realpath -m -- '$(TARGET)')=/usr/src/target"
# Nor do they need the C library of this machine: where it has these two, of glibc 2.39, the standard library's
# weak references to them would bind the programs to it. Under another name they lead nowhere, as they do with
# an older glibc; only an unstable part of the standard library asks for them.
NO_LATER = "-Clink-arg=-Wl,--wrap=pidfd_spawnp,--wrap=pidfd_getpid"
# Debug symbols are in packages of their own; perf, gdb and core dumps find them by the build ID.
SAME = --config 'build.rustflags=[$(REMAP), $(NO_LATER)]' --config 'profile.release.debug="line-tables-only"'

# Packages and the tools that make them. All times in a package are that of the last commit.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p;/^\[dependencies/q' Cargo.toml)
# A version that is not released yet sorts before the release in packages: 0.2.0-dev is 0.2.0~dev there.
PACKAGE_VERSION = $(subst -,~,$(VERSION))
MAINTAINER = $(shell sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
PACKAGE = $(BUILD)/package
TOOL = packaging/cargo-tool
CARGO_DEB = cargo-deb 3.8.0
CARGO_GENERATE_RPM = cargo-generate-rpm 0.21.1
CARGO_CYCLONEDX = cargo-cyclonedx 0.5.9
CARGO_DENY = cargo-deny 0.20.2
CARGO_MACHETE = cargo-machete 0.9.2
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || date +%s))

.PHONY: help require build run test test-all soak bench bench-instructions bench-refusals load-ramp pictures manual install install-nginx \
	uninstall uninstall-nginx clean package deb rpm released-packages lint-packages reproducible bom sbom audit \
	release release-files sign-release verify-release repository

help:
	@echo 'make run            build, and serve on 127.0.0.1:8000 in the foreground (no root, no systemd)'
	@echo 'make build          build pixeld and pixeldctl in release mode'
	@echo 'make install        install these (PREFIX, DESTDIR)'
	@echo 'make install-nginx  install the site below /etc/nginx (DESTDIR)'
	@echo 'make uninstall      stop and remove what both installed, except configuration, logs and users'
	@echo 'make uninstall-nginx  remove the site only'
	@echo
	@echo 'make test           run every check and test; install the Debian packages that they need'
	@echo 'make test-all       run these and those with common clients and proxies'
	@echo 'make soak           inject faults into two hosts under load (MINUTES=30, SEED)'
	@echo 'make audit          check dependencies: licences, advisories, unused, duplicate, too new'
	@echo 'make bench          measure pixeld and its peers, and write docs/performance.md (root, about an hour)'
	@echo 'make bench-instructions  count instructions per request, and write docs/instructions.md (some minutes)'
	@echo 'make bench-refusals count instructions of rejected bodies (valgrind, some minutes)'
	@echo 'make load-ramp      measure latency over a rising rate through nginx'
	@echo
	@echo 'make deb            build the Debian packages: target/debian/*.deb (ARCH=amd64 or ARCH=arm64)'
	@echo 'make rpm            build the packages for Amazon Linux: target/generate-rpm/*.rpm (ARCH)'
	@echo 'make released-packages  build the packages of earlier releases, from which tests upgrade'
	@echo 'make lint-packages  build the packages and check them with lintian and rpmlint (ARCH)'
	@echo 'make reproducible   build the packages in two folders and compare them (ARCH)'
	@echo 'make sbom           list the libraries in the programs as CycloneDX: target/pixeld.cdx.json (ARCH)'
	@echo
	@echo 'make release        run the next three: target/releases/VERSION (ARCHES, RELEASE, KEY)'
	@echo 'make release-files  build the files of a release (ARCHES, RELEASE)'
	@echo 'make sign-release   sign them (RELEASE, KEY)'
	@echo 'make verify-release check the signature and each file of a release (RELEASE, KEYRING)'
	@echo 'make repository     add a release to the repositories for apt and dnf: target/repository (RELEASE, KEY)'
	@echo
	@echo 'make manual         render the manual as HTML and PDF: target/manual'
	@echo 'make pictures       draw the pictures of the README from two hosts under load (root)'
	@echo 'make clean          remove what was built'

# Checks that a build has all programs; a compiler that is too old would report less.
require:
	@CROSS='$(CROSS)' CROSS_TOOLS='$(CROSS_TOOLS)' packaging/build-requirements

# The completions are the same for each architecture. A cross-compiled pixeldctl runs here only if the kernel has qemu for it,
# so another pixeldctl prints them otherwise.
build: require
	"$(CARGO)" build --release --locked $(SAME) $(FOR_CROSS) \
		$(if $(CROSS),--config 'target.$(CROSS).linker="$(CROSS_TOOLS)gcc"')
	@mkdir -p "$(BUILD)/completions"
	@for shell in $(COMPLETIONS); do \
		{ "$(BUILD)/pixeldctl" completions $$shell $(if $(CROSS),2>/dev/null || \
			"$(CARGO)" run --quiet --locked --bin pixeldctl -- completions $$shell); } \
			> "$(BUILD)/completions/pixeldctl.$$shell" || exit; \
	done

# The contents of both kinds of packages besides the binaries.
package: build bom
	@rm -rf "$(PACKAGE)"
	@mkdir -p "$(PACKAGE)/plain"
	@for page in $(PAGES); do gzip -n9 < $$page > "$(PACKAGE)/$${page#man/}.gz" || exit; done
	@for program in pixeld pixeldctl; do $(CROSS_TOOLS)strip -o "$(PACKAGE)/$$program" "$(BUILD)/$$program" || exit; done
	@for program in pixeld pixeldctl; do \
		symbols="$(PACKAGE)/symbols/$$(LC_ALL=C $(CROSS_TOOLS)readelf -n "$(BUILD)/$$program" | sed -n 's|.*Build ID: \(..\)|\1/|p').debug" && \
		mkdir -p "$${symbols%/*}" && \
		$(CROSS_TOOLS)objcopy --only-keep-debug --compress-debug-sections "$(BUILD)/$$program" "$$symbols" || exit; \
	done
# A package asks for the glibc that it needs. Only what is built to be published has to do with an older one.
	@OBJDUMP=$(CROSS_TOOLS)objdump packaging/check-glibc "$(PACKAGE)/pixeld" "$(PACKAGE)/pixeldctl" || [ -z "$$CI" ]
	@for package in pixeld pixeld-nginx; do \
		packaging/changelog $$package '$(MAINTAINER)' | gzip -n9 > "$(PACKAGE)/$$package.changelog.gz" || exit; \
	done
	@cp "$(TARGET)/pixeld.cdx.json" "$(PACKAGE)/"
	@packaging/linked-crates $(TRIPLE) notices > "$(PACKAGE)/third-party-notices"
	@gzip -n9 "$(PACKAGE)/third-party-notices"
# An .rpm has files as old as they are here, where they are older than SOURCE_DATE_EPOCH; copies are not.
	@cp -r monitoring "$(PACKAGE)/plain/"
	@cp -r systemd/* packaging/check-config packaging/proxy-group packaging/site-logs packaging/80-pixeld.preset pixeld.toml CHANGELOG.md LICENSE \
		"$(BUILD)"/completions/pixeldctl.* "$(PACKAGE)/plain/"
	@cp -r nginx "$(PACKAGE)/"
	@packaging/package-readme > "$(PACKAGE)/README.md"

deb: package
	@command -v dpkg-shlibdeps >/dev/null || \
		{ echo 'make deb: dpkg-shlibdeps, which finds the libraries that pixeld needs, is missing: sudo apt install dpkg-dev' >&2; exit 69; }
# cargo-deb runs the cargo of the PATH.
	@mkdir -p "$(PACKAGE)/path" && ln -sf "$$(command -v '$(CARGO)')" "$(PACKAGE)/path/cargo"
	@rm -f "$(TARGET)"/debian/pixeld-nginx_$(PACKAGE_VERSION)_*.deb
	@tool=$$($(TOOL) $(CARGO_DEB)) && for variant in '' --variant=nginx --variant=dbgsym; do \
		PATH="$$(realpath "$(PACKAGE)/path"):$$PATH" SOURCE_DATE_EPOCH=$(EPOCH) "$$tool" $(FOR_CROSS) --no-build --locked --quiet \
			--deb-version='$(PACKAGE_VERSION)' $$variant || exit; \
	done
	@SOURCE_DATE_EPOCH=$(EPOCH) packaging/all-architectures "$(TARGET)"/debian/pixeld-nginx_$(PACKAGE_VERSION)_*.deb
	@ls "$(TARGET)"/debian/pixeld*_$(PACKAGE_VERSION)_*.deb

rpm: package
	@rm -f "$(TARGET)"/generate-rpm/pixeld-nginx-$(PACKAGE_VERSION)-*.rpm
	@mkdir -p "$(TARGET)/generate-rpm"
	@tool=$$($(TOOL) $(CARGO_GENERATE_RPM)) && for variant in '' '--variant=nginx --arch=noarch' --variant=debuginfo; do \
		SOURCE_DATE_EPOCH=$(EPOCH) OBJDUMP=$(CROSS_TOOLS)objdump "$$tool" generate-rpm $(FOR_CROSS) \
			--target-dir="$(TARGET)" --output="$(TARGET)/generate-rpm/" --auto-req=packaging/rpm/requires \
			--set-metadata='version = "$(PACKAGE_VERSION)"' $$variant || exit; \
	done
	@ls "$(TARGET)"/generate-rpm/pixeld*-$(PACKAGE_VERSION)-*.rpm

# The packages of earlier releases, from which tests upgrade and to which they roll back.
released-packages:
	@packaging/released-packages

# A release: a folder of files, signed; and repositories for apt and dnf (docs/releasing.md). KEY is a file with a
# secret key, and OLD_KEY the one before, while it is rotated. If KEY does not exist, a throw-away one is made.
ARCHES ?= $(shell dpkg --print-architecture)
RELEASE ?= $(TARGET)/releases/$(PACKAGE_VERSION)
KEY ?= $(TARGET)/throw-away-key
KEYRING ?= $(KEY).public
REPOSITORY ?= $(TARGET)/repository
REPOSITORY_URL ?= file://$(shell realpath -m -- '$(REPOSITORY)')

release: release-files sign-release
	@packaging/verify-release "$(RELEASE)" "$(KEYRING)"

release-files:
	@packaging/release "$(RELEASE)" $(ARCHES)

sign-release:
	@packaging/sign-release "$(RELEASE)" "$(KEY)"

verify-release:
	@packaging/verify-release "$(RELEASE)" "$(KEYRING)"

repository:
	@packaging/repository "$(RELEASE)" "$(REPOSITORY)" "$(REPOSITORY_URL)" "$(KEY)" $(if $(OLD_KEY),"$(OLD_KEY)")

# Machine code may look like a misspelt word.
lint-packages: deb rpm
	lintian --pedantic --display-info --fail-on error,warning --suppress-tags spelling-error-in-binary --tag-display-limit 0 "$(TARGET)"/debian/pixeld*_$(PACKAGE_VERSION)_*.deb
	rpmlint --config packaging/rpm/rpmlint.toml "$(TARGET)"/generate-rpm/pixeld*-$(PACKAGE_VERSION)-*.rpm

reproducible:
	@ARCH='$(ARCH)' bash packaging/reproducible

# CycloneDX, and not what cargo-auditable puts into the binaries: scanners and auditors read it without
# the program, and the program stays as it was built.
bom: require
	@command -v python3 >/dev/null || \
		{ echo 'make: python3, which lists what is in the programs, is missing: sudo apt install python3' >&2; exit 69; }
	@tool=$$($(TOOL) $(CARGO_CYCLONEDX)) && SOURCE_DATE_EPOCH=$(EPOCH) "$$tool" cyclonedx --quiet \
		--format json --spec-version 1.5 --target $(TRIPLE) --override-filename pixeld.cdx
	@mkdir -p "$(TARGET)"
	@packaging/linked-crates $(TRIPLE) bom pixeld.cdx.json crates/pixeldctl/pixeld.cdx.json > "$(TARGET)/pixeld.cdx.json"
	@rm pixeld.cdx.json crates/*/pixeld.cdx.json

sbom: bom
	@echo "$(TARGET)/pixeld.cdx.json"

# The advisories are a Git repository of their own, which not every machine reaches. CI has to, so that one machine does.
audit:
	@tool=$$($(TOOL) $(CARGO_DENY)) && "$$tool" check bans licenses sources && \
		if "$$tool" fetch db; then "$$tool" check --disable-fetch advisories; \
		elif [ -n "$$CI" ]; then \
			echo 'The advisories cannot be fetched, and with CI set that fails the audit.' >&2; exit 69; \
		else echo 'The advisories cannot be fetched, and are not looked at.' >&2; fi
	@tool=$$($(TOOL) $(CARGO_MACHETE)) && "$$tool"
	@packaging/rust-versions

run: build
	@BUILD="$(BUILD)" sh tests/run-by-hand

test:
	@bash tests/run-all

test-all:
	@bash tests/run-all all

pictures:
	"$(CARGO)" run --locked --quiet --example pictures docs/pictures
	docs/pictures/draw docs/pictures/*.ansi
	rm docs/pictures/*.ansi

# A reference to a page of ours leads to it, one to another page to Debian's. groff, of Debian's package of
# that name, sets examples in a font whose columns stand below each other; mandoc does so only in HTML.
manual:
	@mkdir -p "$(TARGET)/manual"
	@cp man/manual.css man/*.[1578] "$(TARGET)/manual/"
	@cd "$(TARGET)/manual" && touch $(WHOLE_PAGES:man/%=%.html) && for page in $(WHOLE_PAGES:man/%=%); do \
		mandoc -T html -O 'style=manual.css,man=%N.%S.html;https://manpages.debian.org/%N.%S' \
			$$page > $$page.html && \
		groff -mandoc -K utf8 -W break -T pdf -P -pa4 -dpaper=a4 $$page > $$page.pdf && rm $$page || exit; \
	done
	@ls "$(TARGET)"/manual/*.html "$(TARGET)"/manual/*.pdf

soak:
	@MINUTES='$(MINUTES)' SEED='$(SEED)' bash tests/run-all soak

bench:
	@bench/run

bench-instructions: build
	@bench/instructions

bench-refusals: build
	@bench/refusals

load-ramp:
	@bench/run ramp

install:
	@for file in pixeld pixeldctl $(COMPLETIONS:%=completions/pixeldctl.%); do \
		[ -e "$(BUILD)/$$file" ] || { \
			echo 'There is nothing to install yet: run `make build` first (as yourself, not as root).' >&2; exit 1; }; \
	done
	$(INSTALL) -D -m 0755 -t "$(DESTDIR)$(PREFIX)/bin" "$(BUILD)/pixeld" "$(BUILD)/pixeldctl"
	for unit in $(UNITS); do \
		sed 's,/usr/bin/,$(PREFIX)/bin/,' $$unit | \
			$(INSTALL) -D -m 0644 /dev/stdin "$(DESTDIR)$(UNITDIR)/$${unit#systemd/}" || exit; \
	done
	$(INSTALL) -D -m 0644 systemd/pixeld.sysusers "$(DESTDIR)$(SYSUSERSDIR)/pixeld.conf"
	$(INSTALL) -D -m 0755 -t "$(DESTDIR)$(LIBEXECDIR)/pixeld" packaging/check-config packaging/proxy-group packaging/site-logs
	$(INSTALL) -D -m 0644 -t "$(DESTDIR)$(CATALOGDIR)" systemd/pixeld.catalog
	[ -e "$(DESTDIR)$(SYSCONFDIR)/pixeld/pixeld.toml" ] || \
		$(INSTALL) -D -m 0644 pixeld.toml "$(DESTDIR)$(SYSCONFDIR)/pixeld/pixeld.toml"
	for folder in nginx nginx/pixeld.d nginx/pixeld.d/pixel nginx/nginx.service.d; do \
		$(INSTALL) -D -m 0644 -t "$(DESTDIR)$(PREFIX)/share/pixeld/$$folder" $$folder/*.conf || exit; \
	done
	$(INSTALL) -D -m 0644 -t "$(DESTDIR)$(PREFIX)/share/pixeld/nginx" nginx/*.service nginx/*.timer
	$(INSTALL) -D -m 0644 -t "$(DESTDIR)$(PREFIX)/share/pixeld/monitoring" monitoring/*
	$(INSTALL) -D -m 0644 -t "$(DESTDIR)$(PREFIX)/share/man/man1" man/*.1
	$(INSTALL) -D -m 0644 -t "$(DESTDIR)$(PREFIX)/share/man/man5" man/*.5
	$(INSTALL) -D -m 0644 -t "$(DESTDIR)$(PREFIX)/share/man/man7" man/*.7
	$(INSTALL) -D -m 0644 -t "$(DESTDIR)$(PREFIX)/share/man/man8" man/*.8
	$(INSTALL) -D -m 0644 "$(BUILD)/completions/pixeldctl.bash" "$(DESTDIR)$(BASHCOMPDIR)/pixeldctl"
	$(INSTALL) -D -m 0644 "$(BUILD)/completions/pixeldctl.zsh" "$(DESTDIR)$(ZSHCOMPDIR)/_pixeldctl"
	$(INSTALL) -D -m 0644 "$(BUILD)/completions/pixeldctl.fish" "$(DESTDIR)$(FISHCOMPDIR)/pixeldctl.fish"
	@[ -n "$(DESTDIR)" ] || echo 'Next: systemd-sysusers && journalctl --update-catalog && systemctl daemon-reload && $(LIBEXECDIR)/pixeld/proxy-group && systemctl enable --now pixeld'

install-nginx:
	$(INSTALL) -D -m 0644 nginx/pixeld.conf "$(DESTDIR)/etc/nginx/conf.d/pixeld.conf"
	for own in pixeld-upstreams.conf pixeld-logrotate.conf; do \
		[ -e "$(DESTDIR)/etc/nginx/$$own" ] || \
			$(INSTALL) -D -m 0644 nginx/$$own "$(DESTDIR)/etc/nginx/$$own" || exit; \
	done
# Once the folder is there, an operator may have switched IPv6 off.
	[ -e "$(DESTDIR)/etc/nginx/pixeld.d" ] || [ ! -e /proc/net/if_inet6 ] || \
		$(INSTALL) -D -m 0644 -t "$(DESTDIR)/etc/nginx/pixeld.d" nginx/pixeld.d/ipv6.conf
	$(INSTALL) -d "$(DESTDIR)/etc/nginx/pixeld.d/pixel"
	$(INSTALL) -D -m 0644 -t "$(DESTDIR)/etc/systemd/system" nginx/*.service nginx/*.timer
	$(INSTALL) -D -m 0644 nginx/nginx.service.d/pixeld.conf "$(DESTDIR)$(NGINX_DROP_IN)"
# nginx's processes get the group at their next start.
	@if [ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ]; then \
		echo 'Before nginx starts, as root: $(LIBEXECDIR)/pixeld/site-logs && $(LIBEXECDIR)/pixeld/proxy-group --nginx'; \
	else packaging/site-logs; packaging/proxy-group --nginx || :; fi
	@[ -n "$(DESTDIR)" ] || echo 'Next: nginx -t && systemctl daemon-reload && systemctl restart nginx'

# On this host, what is removed is stopped first. The configuration stays, of pixeld and of its site: what is below
# /etc/pixeld, /etc/nginx/pixeld.d, pixeld-upstreams.conf and pixeld-logrotate.conf. So do logs and system users.
uninstall: uninstall-nginx
	@[ -n "$(DESTDIR)" ] || [ ! -e "$(UNITDIR)/pixeld.service" ] || systemctl disable --quiet --now $(STOPPED)
	rm -f "$(DESTDIR)$(PREFIX)/bin/pixeld" "$(DESTDIR)$(PREFIX)/bin/pixeldctl"
	rm -f $(foreach unit,$(notdir $(UNITS)),"$(DESTDIR)$(UNITDIR)/$(unit)")
	rm -rf "$(DESTDIR)$(LIBEXECDIR)/pixeld"
	rm -f "$(DESTDIR)$(SYSUSERSDIR)/pixeld.conf" "$(DESTDIR)$(CATALOGDIR)/pixeld.catalog"
	rm -f $(foreach page,$(PAGES),"$(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(page)))/$(notdir $(page))")
	rm -f "$(DESTDIR)$(BASHCOMPDIR)/pixeldctl" "$(DESTDIR)$(ZSHCOMPDIR)/_pixeldctl"
	rm -f "$(DESTDIR)$(FISHCOMPDIR)/pixeldctl.fish"
	rm -rf "$(DESTDIR)$(PREFIX)/share/pixeld"
	@$(if $(RUNS),systemctl daemon-reload; [ ! -d /run/pixeld ] || rmdir --ignore-fail-on-non-empty /run/pixeld)

# Packages have the drop-in elsewhere: nothing of theirs goes.
uninstall-nginx:
	@[ ! -e "$(DESTDIR)$(NGINX_DROP_IN)" ] || { set -x; \
		$(if $(RUNS),systemctl stop pixeld-logrotate.timer pixeld-logrotate.service; rm -rf /run/pixeld-logrotate;) \
		rm -f "$(DESTDIR)/etc/nginx/conf.d/pixeld.conf" "$(DESTDIR)$(NGINX_DROP_IN)"; \
		rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(dir $(NGINX_DROP_IN))"; \
		rm -f $(foreach unit,$(notdir $(wildcard nginx/*.service nginx/*.timer)),"$(DESTDIR)/etc/systemd/system/$(unit)"); \
		find "$(DESTDIR)/etc/nginx/pixeld.d" -type l -lname '$(PREFIX)/share/pixeld/*' -delete; \
		$(if $(RUNS),systemctl daemon-reload; \
		! systemctl --quiet is-active nginx || ! nginx -q -t || systemctl reload nginx;) }

clean:
	"$(CARGO)" clean
