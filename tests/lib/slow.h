/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KAUS_SLOW=n: what a test takes for a hang may last n times as long. For
 * kernels that check each of their steps. A test includes it after the harness.
 */
#ifndef SLOW_H
#define SLOW_H

#include <stdlib.h>

static inline int slow_factor(void)
{
	const char *s = getenv("KAUS_SLOW");
	int n = s ? atoi(s) : 1;

	return n > 1 ? n : 1;
}

#ifdef __KSELFTEST_HARNESS_H
/* After those that have a priority, which make the harness's lists. */
__attribute__((constructor)) static void slow_timeouts(void)
{
	struct __fixture_metadata *f;
	struct __test_metadata *t;

	for (f = __fixture_list; f; f = f->next)
		for (t = f->tests; t; t = t->next)
			t->timeout *= slow_factor();
}

#endif

#endif /* SLOW_H */
