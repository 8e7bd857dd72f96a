/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Memory order, under the names of the Linux memory model. Plain accesses to
 * shared words go through READ_ONCE() and WRITE_ONCE().
 */
#ifndef KR_BASE_BARRIER_H
#define KR_BASE_BARRIER_H

#include <stdbool.h>

#include "base/compiler.h"

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define smp_load_acquire(p)	__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define smp_store_release(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)

/*
 * Add to a counter that one thread writes and any may read. Written out as a
 * relaxed load and store it is three instructions for one, so that is left to
 * ThreadSanitizer: no compiler tears or defers an aligned addition to memory
 * beyond the next barrier(), and readers accept any recent value.
 */
#if KR_TSAN
#define ADD_ONCE(x, n)		WRITE_ONCE(x, (x) + (n))
#else
#define ADD_ONCE(x, n)		((x) += (n))
#endif

/* Orders against code on the same thread only (signals, redirects). */
#define barrier()		__asm__ __volatile__("" ::: "memory")

/* Full barrier; a locked operation is cheaper than mfence on all x86. */
static inline void smp_mb(void)
{
	__asm__ __volatile__("lock; addl $0, -4(%%rsp)" ::: "memory", "cc");
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

/* Read-modify-writes are full barriers, as on x86 anyway. */
#define kr_xchg(p, v)		__atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define kr_add(p, v)		__atomic_add_fetch((p), (v), __ATOMIC_SEQ_CST)
#define kr_sub(p, v)		__atomic_sub_fetch((p), (v), __ATOMIC_SEQ_CST)
#define kr_or(p, v)		__atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define kr_and(p, v)		__atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)

/* True if *p was old and is now new. */
#define kr_cas(p, old, new)						\
	({								\
		__typeof__(*(p)) kr_cas_old = (old);			\
		__atomic_compare_exchange_n((p), &kr_cas_old, (new),	\
					    false, __ATOMIC_SEQ_CST,	\
					    __ATOMIC_RELAXED);		\
	})

#endif /* KR_BASE_BARRIER_H */
