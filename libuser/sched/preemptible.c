/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The ranges of preemptible code: one for each program or shared object that
 * has any. They are only ever added, by constructors mostly, and read without a
 * lock by goroutines that are being preempted.
 */
#include "sched/preemptible.h"

#include <errno.h>

#include "base/barrier.h"
#include "base/compiler.h"
#include "os/os.h"

#define MAX_RANGES	64

static struct {
	uint32_t lock;
	uint32_t nr;		/* released after the range it counts */
	struct {
		uintptr_t start, end;
	} ranges[MAX_RANGES];
} code;

static bool is_known(uintptr_t start, uintptr_t end)
{
	for (uint32_t i = 0; i < code.nr; i++)
		if (start >= code.ranges[i].start && end <= code.ranges[i].end)
			return true;
	return false;
}

/* A goroutine that is preempted with the lock would keep it for a while. */
int kr_preemptible_add(uintptr_t start, uintptr_t end)
{
	int err = 0;

	if (start >= end)
		return -EINVAL;
	kr_lock(&code.lock);
	if (is_known(start, end)) {
		err = 0;
	} else if (code.nr == MAX_RANGES) {
		err = -ENOSPC;
	} else {
		code.ranges[code.nr].start = start;
		code.ranges[code.nr].end = end;
		smp_store_release(&code.nr, code.nr + 1);
	}
	kr_unlock(&code.lock);
	return err;
}

bool kr_is_preemptible(uintptr_t ip)
{
	uint32_t nr = smp_load_acquire(&code.nr);

	for (uint32_t i = 0; i < nr; i++)
		if (ip >= code.ranges[i].start && ip < code.ranges[i].end)
			return true;
	return false;
}
