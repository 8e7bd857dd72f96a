# SPDX-License-Identifier: GPL-2.0-only
#
# KAUS: the library, the module, their tests. `make help` tells the goals.
# All objects go to $(B). DKMS uses only the goal `module`, so nothing above
# it may need more than make and a compiler.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

# Build variants: SAN=asan|tsan, TINY=1 (short buffers), CC=gcc|clang (say B=... to
# keep both).
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN ?=
TINY ?=
B ?= build$(if $(SAN),/$(SAN))$(if $(TINY),/tiny)
KERNELS ?= 6.1 6.12 6.12-rt
# Of the virtual machines of vm-check and debug-check.
CPUS ?= 2
# Where the module of the goal `module` is to run.
KDIR ?= /lib/modules/$(shell uname -r)/build

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
UDEVDIR ?= /lib/udev/rules.d
MODLOADDIR ?= /usr/lib/modules-load.d

SOVERSION := 0
header_version = $(shell sed -n 's/^\#define KAUS_VERSION_$(1) //p' \
	libuser/include/kaus/go.h)
VERSION = $(call header_version,MAJOR).$(call header_version,MINOR).$(call header_version,PATCH)
MODULE_VERSION = $(shell sed -n 's/^MODULE_VERSION("\(.*\)");/\1/p' kmod/main.c)

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# --- flags -------------------------------------------------------------------

san-asan := -fsanitize=address
san-tsan := -fsanitize=thread
SANFLAGS := $(if $(SAN),$(or $(san-$(SAN)),$(error SAN is asan or tsan)) -fno-omit-frame-pointer)

WARN := -Wall -Wextra -Werror -Wundef -Wmissing-prototypes \
	-Wstrict-prototypes -Wshadow
CFLAGS ?= -O2 -g
# Never -I.: the directory asm/ would shadow <asm/*.h>.
LIB_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(CFLAGS) -fPIC -fvisibility=hidden \
	-ftls-model=initial-exec -pthread $(WARN) $(SANFLAGS) \
	$(if $(TINY),-DKAUS_TINY) -Iuapi -Ilibuser/include -Ilibuser -Iasm
LIB_LIBS := -lurcu-memb -lurcu-common -luring
LIB_MAP := $(wildcard libuser/api/kaus.map)
# A sanitizer's run time is in the program, not in the library.
LIB_LDFLAGS = -shared -pthread -Wl,-soname,libkaus.so.$(SOVERSION) \
	$(LIB_MAP:%=-Wl,--version-script,%) -Wl,-z,relro,-z,now \
	-Wl,-z,noexecstack $(if $(SAN),,-Wl,-z,defs) $(SANFLAGS) $(LDFLAGS)

# The start of a program that has kaus_main() is a library of its own.
MAIN_SRC := asm/rt0.S asm/start.S
MAIN_OBJ := $(MAIN_SRC:%=$(B)/obj/%.o)
LIB_SRC := $(sort $(wildcard libuser/*/*.c) \
	$(filter-out $(MAIN_SRC),$(wildcard asm/*.S)))
LIB_OBJ := $(LIB_SRC:%=$(B)/obj/%.o)

# What has the interface of another collector is a library of its own, and once
# more by that one's name, for programs that are not linked again.
GC_SRC := $(sort $(wildcard libuser/compat/gc/*.c))
GC_OBJ := $(GC_SRC:%=$(B)/obj/%.o)
GC_MAP := libuser/compat/gc/libkausgc.map
GC_INC := libuser/compat/gc/include
GC_LDFLAGS = -shared -pthread -Wl,--version-script,$(GC_MAP) \
	-Wl,-z,relro,-z,now -Wl,-z,noexecstack $(if $(SAN),,-Wl,-z,defs) \
	$(SANFLAGS) $(LDFLAGS)
$(GC_OBJ): LIB_CFLAGS += -I$(GC_INC)

# --- goals -------------------------------------------------------------------

.PHONY: all lib kmod module tests examples
all: lib kmod tests examples

lib: $(B)/libkaus.so $(B)/libkaus.a $(B)/libkaus-internal.a $(B)/libkausmain.a \
	$(B)/libkausgc.so $(B)/libkausgc.a $(B)/libgc/libgc.so.1

# Objects depend on the compiler and its flags by way of this file.
$(B)/.flags: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(CC) $(LIB_CFLAGS)' | cmp -s - $@ || \
		echo '$(CC) $(LIB_CFLAGS)' >$@

$(B)/obj/%.c.o: %.c $(B)/.flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LIB_CFLAGS) -MMD -MP -c $< -o $@

$(B)/obj/%.S.o: %.S $(B)/.flags
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -std=%,$(LIB_CFLAGS)) -MMD -MP -c $< -o $@

$(B)/libkaus.so.$(SOVERSION): $(LIB_OBJ) $(LIB_MAP)
	$(call say,LD,$@)
	$(Q)$(CC) $(LIB_LDFLAGS) $(LIB_OBJ) $(LIB_LIBS) -o $@

$(B)/libkaus.so: $(B)/libkaus.so.$(SOVERSION)
	$(Q)ln -sf $(<F) $@

# One object, in which what is not for users has become local.
$(B)/libkaus.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)ld -r $^ -o $(B)/obj/libkaus.o
	$(Q)objcopy --localize-hidden $(B)/obj/libkaus.o
	$(Q)rm -f $@
	$(Q)ar rcs $@ $(B)/obj/libkaus.o

# For tests of internals: everything is visible.
$(B)/libkaus-internal.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(B)/libkausmain.a: $(MAIN_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(B)/libkausgc.so.$(SOVERSION): $(GC_OBJ) $(GC_MAP) | $(B)/libkaus.so
	$(call say,LD,$@)
	$(Q)$(CC) $(GC_LDFLAGS) -Wl,-soname,$(@F) -Wl,-rpath,'$$ORIGIN' \
		$(GC_OBJ) -L$(B) -lkaus -o $@

$(B)/libkausgc.so: $(B)/libkausgc.so.$(SOVERSION)
	$(Q)ln -sf $(<F) $@

# In a directory that only those look into who are told to.
$(B)/libgc/libgc.so.1: $(GC_OBJ) $(GC_MAP) | $(B)/libkaus.so
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(GC_LDFLAGS) -Wl,-soname,$(@F) -Wl,-rpath,'$$ORIGIN/..' \
		$(GC_OBJ) -L$(B) -lkaus -o $@

$(B)/libkausgc.a: $(GC_OBJ)
	$(call say,AR,$@)
	$(Q)ld -r $^ -o $(B)/obj/libkausgc.o
	$(Q)objcopy --localize-hidden $(B)/obj/libkausgc.o
	$(Q)rm -f $@
	$(Q)ar rcs $@ $(B)/obj/libkausgc.o

-include $(LIB_OBJ:.o=.d) $(MAIN_OBJ:.o=.d) $(GC_OBJ:.o=.d)

# --- module ------------------------------------------------------------------

kmod: $(KERNELS:%=kmod-%)

.PHONY: $(KERNELS:%=kmod-%)
$(KERNELS:%=kmod-%): kmod-%:
	$(Q)tools/kbuild.sh $*

# The same, but it says that its ABI is of the next minor version: what a test
# of live upgrades exchanges for the first.
kmod-next: $(KERNELS:%=kmod-next-%)

.PHONY: kmod-next $(KERNELS:%=kmod-next-%)
$(KERNELS:%=kmod-next-%): kmod-next-%:
	$(Q)KBUILD_SUBDIR=next/ tools/kbuild.sh $* \
		KCFLAGS=-DKAUS_REPORTED_MINOR=KAUS_ABI_MINOR+1

# As for a kernel without user-return notifiers; see kmod/compat.h.
kmod-reduced: $(KERNELS:%=kmod-reduced-%)

.PHONY: kmod-reduced $(KERNELS:%=kmod-reduced-%)
$(KERNELS:%=kmod-reduced-%): kmod-reduced-%:
	$(Q)KBUILD_SUBDIR=reduced/ tools/kbuild.sh $* KCFLAGS=-DKAUS_NO_URN

# In place and for one kernel: what DKMS runs, on a copy of its own. Version
# and configuration are checked here too because old versions of DKMS ignore
# the fields of dkms.conf that do it.
module:
	@[ -e '$(KDIR)/Makefile' ] || { \
		echo "kaus: no kernel headers in $(KDIR)" >&2; exit 1; }
	@for c in CONFIG_PREEMPT_NOTIFIERS CONFIG_HIGH_RES_TIMERS; do \
		grep -qs "^$$c=y" '$(KDIR)/include/config/auto.conf' \
			'$(KDIR)/.config' || { \
		echo "kaus: kaus.ko needs a kernel with $$c=y, and this one" \
			"($(KDIR)) is without" >&2; exit 1; }; done
	+$(Q)$(MAKE) -C '$(KDIR)' M='$(CURDIR)' modules

# --- tests, examples ---------------------------------------------------------

tests: lib
	+$(Q)$(MAKE) --no-print-directory -C tests B=$(abspath $(B)) \
		CC='$(CC)' SAN=$(SAN) TINY=$(TINY) KAUS_LIB_IS_BUILT=1 all

EXAMPLES := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard examples/*/*.c)))))
EX_CFLAGS = -std=gnu11 $(CFLAGS) -pthread $(WARN) $(SANFLAGS) -Ilibuser/include

examples: $(EXAMPLES:%=$(B)/examples/%)

# $(1): name. Its libraries, beside libkaus, are in the file LIBS.
define example
ex-$(1) := $$(patsubst %,$(B)/obj/%.o,$$(wildcard examples/$(1)/*.c))
$(B)/examples/$(1): $$(ex-$(1)) $(wildcard examples/$(1)/LIBS) | $(B)/libkaus.so
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) -pthread $$(SANFLAGS) $$(ex-$(1)) -o $$@ -L$(B) \
		-Wl,-rpath,$(abspath $(B)) -lkaus \
		$(if $(wildcard examples/$(1)/LIBS),$$(shell cat examples/$(1)/LIBS))
-include $$(ex-$(1):.o=.d)
endef
$(foreach e,$(EXAMPLES),$(eval $(call example,$(e))))

$(B)/obj/examples/%.c.o: examples/%.c $(B)/.flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(EX_CFLAGS) -MMD -MP -c $< -o $@

# --- commands ----------------------------------------------------------------

.PHONY: run check check-native vm-check debug-kernel debug-check upgrade fuzz mutants \
	vm-shell soak bench style deps
run:
	$(Q)tools/deps.sh build kmod vm run
	+$(Q)$(MAKE) --no-print-directory lib kmod-6.12 examples
	$(Q)examples/qserver/run.sh $(ARGS)

check:
	$(Q)tools/deps.sh build kmod vm run style dkms
	$(Q)KERNELS='$(KERNELS)' tools/check.sh static native sanitizers tiny vm

check-native:
	$(Q)tools/deps.sh build kselftest
	$(Q)B='$(B)' SAN='$(SAN)' TINY='$(TINY)' CC='$(CC)' tools/check.sh native

vm-check:
	$(Q)tools/deps.sh build kmod vm kselftest
	$(Q)KERNELS='$(KERNELS)' CPUS='$(CPUS)' tools/check.sh vm

# Kernels that check themselves; some minutes of compiling each, once.
DEBUG_KERNELS ?= debug-kasan debug-kcsan
debug-kernel:
	$(Q)tools/deps.sh debug
	$(Q)tools/debug-kernel.sh $(DEBUG_KERNELS)

debug-check: debug-kernel
	$(Q)tools/deps.sh build vm kselftest
	$(Q)KERNELS='$(DEBUG_KERNELS)' CPUS='$(CPUS)' tools/check.sh debug

# Each guard taken away; MUTANTS="name..." for some.
mutants:
	$(Q)tools/deps.sh build kmod vm kselftest
	+$(Q)$(MAKE) --no-print-directory lib kmod-$(KERNEL) tests
	$(Q)KERNEL=$(KERNEL) tools/mutate.sh $(MUTANTS)

# UPGRADES=200
upgrade:
	$(Q)tools/deps.sh build kmod vm kselftest
	$(Q)KERNELS='$(KERNELS)' tools/check.sh upgrade

# LIVES=100000 IOCTLS=10000000 SEED=n; hours.
fuzz: KERNELS := debug-kasan
fuzz:
	$(Q)tools/deps.sh build kmod vm kselftest $(if $(filter debug-%,$(KERNELS)),debug)
	$(Q)tools/debug-kernel.sh $(filter debug-%,$(KERNELS))
	$(Q)KERNELS='$(KERNELS)' tools/check.sh fuzz

KERNEL ?= 6.12
vm-shell:
	$(Q)tools/deps.sh build kmod vm kselftest
	+$(Q)$(MAKE) --no-print-directory lib kmod-$(KERNEL) tests examples
	$(Q)tests/vm/run.sh --kernel $(KERNEL) --shell --add build/tests \
		--add build/examples $(ARGS)

SECONDS ?= 600
soak:
	$(Q)tools/deps.sh build kselftest
	+$(Q)$(MAKE) --no-print-directory lib
	+$(Q)$(MAKE) --no-print-directory -C tests B=$(abspath $(B)) \
		CC='$(CC)' SAN=$(SAN) KAUS_LIB_IS_BUILT=1 TARGETS=soak all
	KAUS_TEST_SECONDS=$(SECONDS) $(B)/tests/soak/test_soak

bench: lib
	$(Q)tools/deps.sh build bench
	$(Q)set -e; for s in bench/*/run.sh; do \
		echo "== $$s"; BUILD=$(abspath $(B)) $$s $(ARGS); done

style:
	$(Q)tools/deps.sh build kmod style
	$(Q)tools/run-tests.sh -t 1200 tests/check_style.sh tests/check_layers.sh \
		tests/check_spdx.sh tests/check_headers.sh

deps:
	$(Q)tools/deps.sh build kmod vm run style dkms debug bench

# --- installation ------------------------------------------------------------

.PHONY: install uninstall dkms-install dkms-remove clean help
GC_PUBLIC := gc.h gc_typed.h gc_version.h gc/gc.h gc/gc_typed.h gc/gc_version.h
PUBLIC := $(patsubst libuser/include/%,%,$(wildcard libuser/include/*.h \
	libuser/include/kaus/*.h))
in_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
MAN := $(wildcard doc/man/*.[1-9])

install: lib
	$(Q)install -d $(DESTDIR)$(LIBDIR)/pkgconfig \
		$(DESTDIR)$(INCLUDEDIR)/kaus $(DESTDIR)$(INCLUDEDIR)/linux
	$(Q)install -m 755 $(B)/libkaus.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/
	$(Q)ln -sf libkaus.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libkaus.so
	$(Q)install -m 644 $(B)/libkaus.a $(B)/libkausmain.a $(DESTDIR)$(LIBDIR)/
	$(Q)for h in $(PUBLIC); do \
		install -m 644 libuser/include/$$h $(DESTDIR)$(INCLUDEDIR)/$$h || exit; \
	done
	$(Q)install -m 644 uapi/linux/kaus.h $(DESTDIR)$(INCLUDEDIR)/linux/
	$(Q)install -m 755 $(B)/libkausgc.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/
	$(Q)ln -sf libkausgc.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libkausgc.so
	$(Q)install -m 644 $(B)/libkausgc.a $(DESTDIR)$(LIBDIR)/
	$(Q)install -D -m 755 $(B)/libgc/libgc.so.1 \
		$(DESTDIR)$(LIBDIR)/kaus-gc/libgc.so.1
	$(Q)for h in $(GC_PUBLIC); do \
		install -D -m 644 $(GC_INC)/$$h \
			$(DESTDIR)$(INCLUDEDIR)/kaus-gc/$$h || exit; \
	done
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|;s|@LIBDIR@|$(call in_prefix,$(LIBDIR))|' \
		-e 's|@INCLUDEDIR@|$(call in_prefix,$(INCLUDEDIR))|;s|@VERSION@|$(VERSION)|' \
		packaging/kaus-gc.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/kaus-gc.pc
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|;s|@LIBDIR@|$(call in_prefix,$(LIBDIR))|' \
		-e 's|@INCLUDEDIR@|$(call in_prefix,$(INCLUDEDIR))|;s|@VERSION@|$(VERSION)|' \
		packaging/kaus.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/kaus.pc
	$(Q)for m in $(MAN); do \
		install -D -m 644 $$m $(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/} || exit; \
	done
	$(Q)[ -n '$(DESTDIR)' ] || ldconfig

uninstall:
	$(Q)rm -f $(DESTDIR)$(LIBDIR)/libkaus.so* $(DESTDIR)$(LIBDIR)/libkaus.a \
		$(DESTDIR)$(LIBDIR)/libkausmain.a \
		$(DESTDIR)$(LIBDIR)/pkgconfig/kaus.pc \
		$(DESTDIR)$(LIBDIR)/libkausgc.so* $(DESTDIR)$(LIBDIR)/libkausgc.a \
		$(DESTDIR)$(LIBDIR)/kaus-gc/libgc.so.1 \
		$(DESTDIR)$(LIBDIR)/pkgconfig/kaus-gc.pc \
		$(GC_PUBLIC:%=$(DESTDIR)$(INCLUDEDIR)/kaus-gc/%) \
		$(PUBLIC:%=$(DESTDIR)$(INCLUDEDIR)/%) \
		$(DESTDIR)$(INCLUDEDIR)/linux/kaus.h \
		$(foreach m,$(MAN),$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m)))
	$(Q)rmdir $(DESTDIR)$(INCLUDEDIR)/kaus $(DESTDIR)$(INCLUDEDIR)/kaus-gc/gc \
		$(DESTDIR)$(INCLUDEDIR)/kaus-gc $(DESTDIR)$(LIBDIR)/kaus-gc \
		2>/dev/null || :

DKMS_SRC = /usr/src/kaus-$(MODULE_VERSION)
dkms-install:
	$(Q)tools/deps.sh dkms
	$(Q)tools/dkms-source.sh $(DKMS_SRC)
	$(Q)dkms install kaus/$(MODULE_VERSION) $(if $(KVER),-k $(KVER))
	$(Q)install -D -m 644 packaging/60-kaus.rules $(UDEVDIR)/60-kaus.rules
	$(Q)install -D -m 644 packaging/kaus.conf $(MODLOADDIR)/kaus.conf

dkms-remove:
	$(Q)dkms remove kaus/$(MODULE_VERSION) --all
	$(Q)rm -rf $(DKMS_SRC) $(UDEVDIR)/60-kaus.rules $(MODLOADDIR)/kaus.conf

clean:
	$(Q)rm -rf build

help:
	@echo 'Two goals do everything, and install what they need:'
	@echo '  run           build, boot a virtual machine with the module, run the'
	@echo '                demonstration with and without it (ARGS="...")'
	@echo '  check         all tests, here and in virtual machines on $(KERNELS)'
	@echo
	@echo 'Building:'
	@echo '  all           lib kmod tests examples'
	@echo '  lib           libkaus.so, .a, libkausmain.a (SAN=asan|tsan, CC=clang, B=DIR)'
	@echo '  kmod          kaus.ko for KERNELS="$(KERNELS)"; kmod-6.12 for one'
	@echo '  module        kaus.ko here, for KDIR=/lib/modules/VERSION/build'
	@echo '  tests         test programs               examples   example programs'
	@echo '  deps          install the packages that all this needs'
	@echo '  clean         remove build/'
	@echo
	@echo 'Testing:'
	@echo '  check-native  unit tests without the module (SAN=asan|tsan, TINY=1: with short'
	@echo '                buffers; check does all of them)'
	@echo '  vm-check      module and unit tests in the virtual machines (CPUS=$(CPUS)'
	@echo '                KERNELS="$(KERNELS)")'
	@echo '  fuzz          the module under random users (LIVES=100000 IOCTLS=10000000'
	@echo '                SEED=n KERNELS=debug-kasan); check does a short run'
	@echo '  debug-kernel  kernels with KASAN, lockdep, kmemleak ... and with KCSAN'
	@echo '  debug-check   module and unit tests on them; DEBUG_KERNELS=debug-kasan'
	@echo '  upgrade       modules exchanged under load, UPGRADES=200 times'
	@echo '  mutants       take away each guard of tests/mutants.txt, expect a failure'
	@echo '  vm-shell      a shell in one (KERNEL=6.12)'
	@echo '  soak          all features at once for SECONDS=$(SECONDS)'
	@echo '  style         sparse, checkpatch, coccicheck, clang, codespell, kernel-doc, layers'
	@echo '  bench         benchmarks'
	@echo
	@echo 'Installing:'
	@echo '  install       library, headers, manual pages (DESTDIR, PREFIX=$(PREFIX))'
	@echo '  uninstall     undo it'
	@echo '  dkms-install  the module by DKMS, udev rule, modules-load (KVER=VERSION)'
	@echo '  dkms-remove   undo it'

.PHONY: FORCE
FORCE:
