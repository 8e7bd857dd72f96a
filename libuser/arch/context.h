/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A suspended flow of control: a goroutine or the loop of an M.
 *
 * What asm/swap.h saves, and its first content. Sanitizers and valgrind keep shadow state for
 * each stack and are told here about every switch; without them the extra
 * members do not exist.
 */
#ifndef KR_ARCH_CONTEXT_H
#define KR_ARCH_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/barrier.h"
#include "base/compiler.h"
#include "swap.h"

#if KR_ASAN
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if KR_TSAN
#include <sanitizer/tsan_interface.h>
#endif

struct kr_context {
	struct kr_saved saved;
#if KR_ASAN
	void *fake_stack;
	const void *stack_lo;
	size_t stack_size;
#endif
#if KR_TSAN
	void *fiber;		/* of one life of a goroutine */
#endif
};

void kr_context_entry(void);
void kr_context_peek(const struct kr_saved *parked, void (*fn)(void *arg),
		     void *arg);

/**
 * kr_context_init() - Prepare a context that enters kr_g_main(@arg).
 * @ctx: The context.
 * @lo: Lowest usable address of its stack.
 * @hi: End of its stack, 16-byte aligned.
 * @arg: Passed to kr_g_main().
 */
static inline void kr_context_init(struct kr_context *ctx, void *lo, void *hi,
				   void *arg)
{
	/* Above @arg is a null return address for naive stack walkers. */
	uint64_t *sp = (uint64_t *)hi - 2;

	sp[0] = (uint64_t)arg;
	/* Relaxed: kr_ring_prefetch() reads it of any goroutine. */
	WRITE_ONCE(ctx->saved.sp, sp);
	ctx->saved.ip = (void *)kr_context_entry;
	ctx->saved.bp = NULL;
	ctx->saved.mxcsr = KR_MXCSR_DEFAULT;
	ctx->saved.fcw = KR_FCW_DEFAULT;
	(void)lo;
#if KR_ASAN
	ctx->fake_stack = NULL;
	ctx->stack_lo = lo;
	ctx->stack_size = (size_t)((char *)hi - (char *)lo);
	/* A stack used before may hold poison of frames never left. */
	__asan_unpoison_memory_region(lo, ctx->stack_size);
#endif
#if KR_TSAN
	ctx->fiber = __tsan_create_fiber(0);
#endif
}

/*
 * A context that kr_context_init() made has ended and another one runs. The
 * fiber cannot be used again: the calls that a dead goroutine never returned
 * from are on its shadow stack for good.
 */
static inline void kr_context_end(struct kr_context *ctx)
{
	(void)ctx;
#if KR_TSAN
	__tsan_destroy_fiber(ctx->fiber);
#endif
}

/* The context of a thread's own stack; call it on that thread. */
static inline void kr_context_thread(struct kr_context *ctx)
{
	(void)ctx;
#if KR_ASAN
	pthread_attr_t attr;
	void *lo;

	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &lo, &ctx->stack_size);
	ctx->stack_lo = lo;
	pthread_attr_destroy(&attr);
#endif
#if KR_TSAN
	ctx->fiber = __tsan_get_current_fiber();
#endif
}

/* Tell the sanitizers that the present stack goes on as @to. */
static inline void kr_context_leave(struct kr_context *from,
				    struct kr_context *to, int from_is_dead)
{
	(void)from;
	(void)to;
	(void)from_is_dead;
#if KR_ASAN
	__sanitizer_start_switch_fiber(from_is_dead ? NULL : &from->fake_stack,
				       to->stack_lo, to->stack_size);
#endif
#if KR_TSAN
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* First thing on a stack that is now running as @ctx. */
static inline void kr_context_arrive(struct kr_context *ctx)
{
	(void)ctx;
#if KR_ASAN
	__sanitizer_finish_switch_fiber(ctx->fake_stack, NULL, NULL);
#endif
}

#endif /* KR_ARCH_CONTEXT_H */
