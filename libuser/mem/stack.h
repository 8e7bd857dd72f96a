/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Stacks of goroutines. */
#ifndef KR_MEM_STACK_H
#define KR_MEM_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KR_STACK_DEFAULT_BYTES	(256UL << 10)
#define KR_STACK_MIN_BYTES	(16UL << 10)
#define KR_STACK_MAX_BYTES	(1UL << 30)

struct kr_stack {
	char *lo;	/* lowest usable address; a guard page lies below */
	char *hi;	/* end, 16-byte aligned */
};

/* Size of all stacks from now on; whole pages. Call before the first alloc. */
void kr_stack_set_size(size_t bytes);

/**
 * kr_stack_alloc() - Get a stack.
 * @ret_stack: The stack. It stays with its goroutine object for ever.
 *
 * Context: preemption off or a plain thread. Return: 0 or -ENOMEM.
 */
int kr_stack_alloc(struct kr_stack *ret_stack);

#endif /* KR_MEM_STACK_H */
