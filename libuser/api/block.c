/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Calls that sleep in the kernel, announced. */
#include "sched/block.h"

#include <kaus/block.h>
#include <stdarg.h>

#include "sched/sched.h"

/* Preemption stays off only where the P has been given up: see sched/block.h. */
static bool begin(bool now)
{
	struct m *mp = kr_enter();

	if (!mp)
		return false;
	if (mp->curg->blocking) {
		kr_exit(mp);
		return false;
	}
	mp->curg->blocking = true;
	if (!kr_block_begin(mp, now))
		kr_exit(mp);
	return true;
}

/*
 * Where the P has been given up, the M is still the same: goroutines change it
 * in calls to the library only.
 */
static void end(struct m *mp)
{
	mp->curg->blocking = false;
	if (kr_block_end(mp))
		kr_exit(mp);
}

KR_API int kaus_block_begin(void)
{
	return begin(false) ? 0 : -EPERM;
}

KR_API int kaus_block_end(void)
{
	struct m *mp = kr_self();

	if (!mp || !mp->curg || !mp->curg->blocking)
		return -EPERM;
	end(mp);
	return 0;
}

KR_API void *kaus_blocking(void *(*fn)(void *arg), void *arg)
{
	bool begun = begin(true);
	void *value = fn(arg);

	if (begun)
		end(kr_self());
	return value;
}

KR_API long kaus_syscall(long nr, ...)
{
	bool begun = begin(false);
	va_list args;
	long a[6], ret;

	va_start(args, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	ret = kaus_raw_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (begun)
		end(kr_self());
	return ret;
}
