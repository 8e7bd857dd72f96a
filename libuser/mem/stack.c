/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Stacks are cut from slabs of address space that the kernel backs as they are
 * touched. Each has a guard page below it, which costs the process two memory
 * mappings a stack; vm.max_map_count allows 65530 by default, so guards stop
 * at GUARD_BUDGET and later stacks rely on the slab's own edge. Stacks belong
 * to their struct g and are reused with it.
 */
#include <errno.h>

#include "base/compiler.h"
#include "mem/stack.h"
#include "os/os.h"

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(lo, hi) ((void)(lo), (void)(hi), 0)
#endif

#define SLAB_STACKS	32
#define GUARD_BUDGET	24000

static struct {
	uint32_t lock;
	size_t size;		/* of one stack, without its guard page */
	char *slab;
	unsigned int slab_left;
	unsigned int nr_guards;
} stacks = { .size = KR_STACK_DEFAULT_BYTES };

void kr_stack_set_size(size_t bytes)
{
	stacks.size = (bytes + KR_PAGE_SIZE - 1) & ~(KR_PAGE_SIZE - 1);
}

int kr_stack_alloc(struct kr_stack *ret_stack)
{
	size_t step = stacks.size + KR_PAGE_SIZE;
	char *base = NULL;
	void *slab;
	int err = 0;

	kr_lock(&stacks.lock);
	if (!stacks.slab_left) {
		err = kr_vm_map(step * SLAB_STACKS, false, &slab);
		if (!err) {
			/*
			 * One touched page must cost one page. Without guards
			 * the slab would be fit for huge pages.
			 */
			kr_vm_no_hugepage(slab, step * SLAB_STACKS);
			stacks.slab = slab;
			stacks.slab_left = SLAB_STACKS;
		}
	}
	if (!err) {
		base = stacks.slab;
		stacks.slab += step;
		stacks.slab_left--;
		if (stacks.nr_guards < GUARD_BUDGET &&
		    !kr_vm_protect_none(base, KR_PAGE_SIZE))
			stacks.nr_guards++;
	}
	kr_unlock(&stacks.lock);
	if (err)
		return -ENOMEM;
	ret_stack->lo = base + KR_PAGE_SIZE;
	ret_stack->hi = base + step;
	(void)VALGRIND_STACK_REGISTER(ret_stack->lo, ret_stack->hi);
	return 0;
}
