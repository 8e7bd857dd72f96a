/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Futexes and the runtime's lock.
 *
 * Lock word: 0 free, 1 held, 2 held and somebody may sleep (U. Drepper,
 * "Futexes Are Tricky", mutex 2). The spin is short: a holder is never
 * preempted by the runtime, only by the kernel.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/barrier.h"
#include "os/os.h"

#define LOCK_PAUSES	256	/* pauses at most between two looks */
#define LOCK_LOOK_NS	1000000	/* see kr_unlock_quick() */

int kr_futex_wait(uint32_t *word, uint32_t val, uint64_t deadline_ns)
{
	struct timespec ts, *tsp = NULL;
	int saved_errno = errno;
	int err = 0;

	if (deadline_ns != UINT64_MAX) {
		ts.tv_sec = deadline_ns / 1000000000ULL;
		ts.tv_nsec = deadline_ns % 1000000000ULL;
		tsp = &ts;
	}
	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, val, tsp, NULL,
		    FUTEX_BITSET_MATCH_ANY) && errno == ETIMEDOUT)
		err = -ETIMEDOUT;
	errno = saved_errno;
	return err;
}

void kr_futex_wake(uint32_t *word, int nr)
{
	int saved_errno = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0);
	errno = saved_errno;
}

void kr_lock_slow(uint32_t *lock)
{
	/*
	 * Ever more seldom, lest the line leave its holder's CPU: in the time that
	 * a handover between CPUs takes one of them can do a dozen operations.
	 */
	for (int i = 1; i <= LOCK_PAUSES; i = 2 * i) {
		for (int j = 0; j < i; j++)
			cpu_relax();
		if (READ_ONCE(*lock) == 0 && kr_cas(lock, 0, 1))
			return;
	}
	while (kr_xchg(lock, 2) != 0)
		kr_futex_wait(lock, 2, kr_clock_now_ns() + LOCK_LOOK_NS);
}
