# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of /dev/kaus. The Makefile of tools/testing/selftests/kaus in a kernel
# tree, where tools/kselftest-into.sh of KAUS has put all this. "make headers"
# comes first: the programs want the kernel's <linux/kaus.h>.

CFLAGS += -std=gnu11 -O2 -g -pthread -Wall $(KHDR_INCLUDES) -Ilib -I..
LDLIBS += -lm
LOCAL_HDRS := $(wildcard lib/*.h)

TEST_GEN_PROGS := $(patsubst %.c,%,$(sort $(wildcard test_*.c)))
TEST_PROGS := $(sort $(wildcard run_*.sh))
include ../lib.mk

$(TEST_GEN_PROGS): $(wildcard lib/*.c lib/*.S)
