/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A suspended flow of control: a goroutine or the loop of an M.
 *
 * The C face of asm/context.S. Sanitizers and valgrind keep shadow state for
 * each stack and are told here about every switch; without them the extra
 * members do not exist.
 */
#ifndef KR_ARCH_CONTEXT_H
#define KR_ARCH_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#if KR_ASAN
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if KR_TSAN
#include <sanitizer/tsan_interface.h>
#endif

struct kr_context {
	void *sp;
#if KR_ASAN
	void *fake_stack;
	const void *stack_lo;
	size_t stack_size;
#endif
#if KR_TSAN
	void *fiber;
#endif
};

void kr_context_swap(void **save_sp, void *to_sp);
void kr_context_entry(void);

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
	/* Top word is a null return address for naive stack walkers. */
	uint64_t *sp = (uint64_t *)hi - 2;

	*--sp = (uint64_t)kr_context_entry;
	*--sp = 0;			/* rbp */
	*--sp = (uint64_t)arg;		/* rbx */
	sp -= 4;			/* r12 to r15: whatever is there */
	*--sp = 0x037fULL << 32 | 0x1f80;	/* x87 CW and mxcsr, defaults */
	ctx->sp = sp;
	(void)lo;
#if KR_ASAN
	ctx->fake_stack = NULL;
	ctx->stack_lo = lo;
	ctx->stack_size = (size_t)((char *)hi - (char *)lo);
	/* A stack used before may hold poison of frames never left. */
	__asan_unpoison_memory_region(lo, ctx->stack_size);
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
