# SPDX-License-Identifier: GPL-2.0-only
#
# Included by the Makefiles of the test directories: where kselftest is, where
# programs go, how they are linked. A directory sets TEST_GEN_PROGS, and
# TEST_EXTRA_SRC for sources linked into each of its programs.

top := $(realpath $(dir $(lastword $(MAKEFILE_LIST)))..)
B ?= $(top)/build$(if $(SAN),/$(SAN))$(if $(TINY),/tiny)
OUTPUT ?= $(B)/tests/$(notdir $(CURDIR))
KSELFTEST := $(top)/build/kselftest/tools/testing/selftests

# Unpacks it when this is the first use.
ifneq ($(shell $(top)/tools/kselftest.sh >&2 && echo ok),ok)
$(error kselftest is needed to build the tests)
endif

CFLAGS ?= -O2 -g
CFLAGS += -std=gnu11 -pthread -Wall -Wextra -Werror -Wundef \
	-Wmissing-prototypes -Wstrict-prototypes -Wshadow
sanflags-asan := -fsanitize=address
sanflags-tsan := -fsanitize=thread
CFLAGS += $(if $(SAN),$(sanflags-$(SAN)) -fno-omit-frame-pointer)
CPPFLAGS += $(if $(TINY),-DKAUS_TINY) -I$(top)/uapi -I$(top)/libuser/include -I$(top)/tests/lib -I$(top)/tests/unit -I$(KSELFTEST)

# The programs run elsewhere than where they were built; see `install`.
RPATH := -Wl,-rpath,'$$ORIGIN/../lib' -Wl,-rpath,$(B)

# lib.mk knows no header dependencies and no sources in another directory.
OVERRIDE_TARGETS := 1
include $(KSELFTEST)/lib.mk

# The runner takes the name of the collection, and where its settings are, from
# the way from BASE_DIR to the working directory: make one by links.
RUN_DIR := $(B)/tests/run
COLLECTION ?= $(notdir $(CURDIR))
define RUN_TESTS
	mkdir -p $(RUN_DIR) && \
	ln -sfn $(KSELFTEST)/kselftest $(RUN_DIR)/kselftest && \
	ln -sfn $(CURDIR) $(RUN_DIR)/$(COLLECTION) && \
	cd $(RUN_DIR)/$(COLLECTION) && \
	BASE_DIR=$(RUN_DIR) && . $(RUN_DIR)/kselftest/runner.sh && \
	if [ '$(summary)' ]; then per_test_logging=1; fi && \
	run_many $(1)
endef

# A test of internals includes libuser's private headers.
internal := $(shell grep -lE '^\#include "(base|arch|os|mem|sched|sync|net|gc|obs)/' \
	*.c /dev/null 2>/dev/null)

# And one of libkausgc includes its header.
with-gc := $(shell grep -lE '^\#include <gc.h>' *.c /dev/null 2>/dev/null)

$(OUTPUT)/%: %.c $(TEST_EXTRA_SRC) $(top)/tests/common.mk | $(B)/libkaus.so $(B)/libkausgc.so
	@printf '  %-7s %s\n' TEST $(notdir $(CURDIR))/$*
	@mkdir -p $(OUTPUT)
	@$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -MF $(OUTPUT)/.$*.d -MT $@ \
		$(if $(filter $*.c,$(internal)),-I$(top)/libuser -I$(top)/asm) \
		$(if $(filter $*.c,$(with-gc)),-I$(top)/libuser/compat/gc/include) \
		$(filter %.c %.S,$^) -o $@ $(LDFLAGS) \
		$(if $(filter $*.c,$(internal)),$(B)/libkaus-internal.a -lurcu-memb -lurcu-common -luring,\
			-L$(B) $(RPATH) -Wl,--as-needed $(if $(filter $*.c,$(with-gc)),-lkausgc) -lkaus \
			-Wl,--no-as-needed) \
		-Wl,--as-needed -lm $(TEST_LIBS)

# Relink what has the library inside.
$(patsubst %.c,$(OUTPUT)/%,$(internal)): $(B)/libkaus-internal.a

ifeq ($(KAUS_LIB_IS_BUILT),)
$(B)/libkaus.so $(B)/libkausgc.so $(B)/libkaus-internal.a: FORCE-lib
.PHONY: FORCE-lib
FORCE-lib:
	+@$(MAKE) --no-print-directory -C $(top) B=$(B) SAN=$(SAN) TINY=$(TINY) lib
endif

-include $(wildcard $(OUTPUT)/.*.d)
