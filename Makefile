# pixeld: build, try, test, install.

PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
CARGO ?= cargo
INSTALL ?= install

# Where `make install` takes the binaries from.
BUILD = $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: help build run test install install-nginx uninstall clean

help:
	@echo 'make run            build, and serve on 127.0.0.1:8000 in the foreground (no root, no systemd)'
	@echo 'make test           run every check and test; installs the Debian packages that it needs'
	@echo 'make build          build pixeld and pixeldctl in release mode'
	@echo 'make install        install what was built (PREFIX, DESTDIR)'
	@echo 'make install-nginx  put the site in place under /etc/nginx'
	@echo 'make uninstall      remove what make install installed, except the configuration'

build:
	$(CARGO) build --release --locked

run: build
	@BUILD=$(BUILD) sh tests/run-by-hand

test:
	@CARGO=$(CARGO) bash tests/run-all

install: $(BUILD)/pixeld $(BUILD)/pixeldctl
	$(INSTALL) -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $^
	for unit in systemd/*.service systemd/*.socket; do \
		sed 's,/usr/bin/,$(PREFIX)/bin/,' $$unit | \
			$(INSTALL) -D -m 0644 /dev/stdin $(DESTDIR)$(UNITDIR)/$${unit#systemd/} || exit; \
	done
	$(INSTALL) -D -m 0644 systemd/pixeld.sysusers $(DESTDIR)$(SYSUSERSDIR)/pixeld.conf
	[ -e $(DESTDIR)$(SYSCONFDIR)/pixeld/pixeld.toml ] || \
		$(INSTALL) -D -m 0644 pixeld.toml $(DESTDIR)$(SYSCONFDIR)/pixeld/pixeld.toml
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/pixeld/nginx nginx/*.conf
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man1 man/*.1
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man5 man/*.5
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 man/*.8
	@[ -n '$(DESTDIR)' ] || echo 'Next: systemd-sysusers && systemctl daemon-reload && systemctl start pixeld'

install-nginx:
	$(INSTALL) -D -m 0644 nginx/pixeld.conf $(DESTDIR)/etc/nginx/conf.d/pixeld.conf
	[ -e $(DESTDIR)/etc/nginx/pixeld-upstreams.conf ] || \
		$(INSTALL) -D -m 0644 nginx/pixeld-upstreams.conf $(DESTDIR)/etc/nginx/pixeld-upstreams.conf

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,pixeld pixeldctl)
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(wildcard systemd/*.service systemd/*.socket)))
	rm -f $(DESTDIR)$(SYSUSERSDIR)/pixeld.conf
	rm -f $(foreach page,$(wildcard man/*.[158]),$(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(page)))/$(notdir $(page)))
	rm -rf $(DESTDIR)$(PREFIX)/share/pixeld

$(BUILD)/pixeld $(BUILD)/pixeldctl:
	@echo 'There is nothing to install yet: run `make build` first (as yourself, not as root).' >&2
	@false

clean:
	$(CARGO) clean
