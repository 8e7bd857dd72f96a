/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Broken invariants: say so and abort. Async-signal-safe. */
#ifndef KR_BASE_BUG_H
#define KR_BASE_BUG_H

#include "base/compiler.h"

/**
 * kr_throw() - Report a broken invariant of the runtime and abort.
 * @msg: "module: what is wrong".
 *
 * Context: any, signal handlers and the trampoline included.
 */
void kr_throw(const char *msg) KR_NORETURN;

#define KR_STR2(x)	#x
#define KR_STR(x)	KR_STR2(x)
#define KR_ASSERT(cond)							\
	do {								\
		if (unlikely(!(cond)))					\
			kr_throw(__FILE__ ":" KR_STR(__LINE__)		\
				 ": " #cond);				\
	} while (0)

#endif /* KR_BASE_BUG_H */
