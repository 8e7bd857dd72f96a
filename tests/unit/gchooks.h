/* SPDX-License-Identifier: GPL-2.0-only */
/* Hooks of the collector, kaus_gc_compat(), that do nothing: for tests of others. */
#ifndef GCHOOKS_H
#define GCHOOKS_H

#include "gc/compat.h"

static inline void no_hook(void)
{
}

static inline void no_hook_of_marker(struct kr_marker *mk)
{
	(void)mk;
}

/* An initializer. */
#define NO_GC_HOOKS							\
	.lock = no_hook, .unlock = no_hook, .done = no_hook,		\
	.roots = no_hook_of_marker, .marked = no_hook_of_marker

#endif /* GCHOOKS_H */
