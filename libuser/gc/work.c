/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Sharing the work of marking.
 *
 * DOC: Each marker has a block of items that it uses as a stack. Full ones go to
 * a list that all take from. A marker has items of its own only while it marks,
 * with preemption off, between kr_work_enter() and kr_work_leave(); in between
 * all is in the list. So when the world is stopped the list has all there is,
 * and nobody has to be asked for what he has.
 *
 * A list that is one long chain of objects never fills a block. So a marker
 * that sees the list empty gives half of its block to it from time to time.
 *
 * Who finds nothing, and nobody at work, may guess that all is done; it is so
 * if it still is when the world is stopped and the barriers' buffers have been
 * looked at (concurrent.c).
 *
 * Blocks come from the kernel, in chunks: the world may be stopped, and who
 * has the allocator's locks is stopped with it. They are kept for the next
 * cycle.
 */
#include "gc/work.h"

#include "base/barrier.h"
#include "base/bug.h"
#include "gc/gc.h"
#include "os/os.h"

#define CHUNK_BLOCKS	64
#define SHARE_MIN	KR_SIZE(16, 2)

static struct {
	uint32_t lock KR_PAIR_ALIGNED;
	struct kr_block *full, *empty;
	uint32_t nr_working KR_PAIR_ALIGNED;
} work;

void kr_work_begin(void)
{
	KR_ASSERT(!work.full && !READ_ONCE(work.nr_working));
}

void kr_work_forked(void)
{
	work.lock = 0;
	work.full = work.empty = NULL;
	work.nr_working = 0;
}

void kr_work_enter(void)
{
	kr_add(&work.nr_working, 1);
}

void kr_work_leave(struct kr_marker *mk)
{
	kr_work_flush(mk);
	kr_sub(&work.nr_working, 1);
}

bool kr_work_is_quiet(void)
{
	return !smp_load_acquire(&work.nr_working);
}

bool kr_work_is_empty(void)
{
	return !READ_ONCE(work.full) && !kr_mark_roots_left();
}

/* Who takes something is working then already, and so was who took a root. */
bool kr_work_is_over(void)
{
	bool over;

	if (kr_mark_roots_left())
		return false;
	kr_lock(&work.lock);
	over = !work.full && !smp_load_acquire(&work.nr_working);
	kr_unlock(&work.lock);
	return over;
}

static struct kr_block *block_get_locked(void)
{
	struct kr_block *block = work.empty;
	void *mem;

	if (!block) {
		if (kr_vm_map(CHUNK_BLOCKS * sizeof(*block), false, &mem))
			kr_throw("gc: no memory to mark with");
		block = mem;
		for (int i = 0; i < CHUNK_BLOCKS; i++, block++) {
			block->next = work.empty;
			work.empty = block;
		}
		block = work.empty;
	}
	work.empty = block->next;
	block->nr = 0;
	return block;
}

static void put_full_locked(struct kr_block *block)
{
	block->next = work.full;
	WRITE_ONCE(work.full, block);
}

static void put_empty_locked(struct kr_block *block)
{
	block->next = work.empty;
	work.empty = block;
}

void kr_work_room(struct kr_marker *mk)
{
	kr_lock(&work.lock);
	if (mk->block)
		put_full_locked(mk->block);
	mk->block = block_get_locked();
	kr_unlock(&work.lock);
}

void kr_work_share(struct kr_marker *mk)
{
	struct kr_block *block = mk->block, *half;

	if (READ_ONCE(work.full) || !block || block->nr < SHARE_MIN)
		return;
	kr_lock(&work.lock);
	half = block_get_locked();
	/* The older half: it leads to more. */
	half->nr = block->nr / 2;
	for (uint64_t i = 0; i < half->nr; i++)
		half->items[i] = block->items[i];
	for (uint64_t i = half->nr; i < block->nr; i++)
		block->items[i - half->nr] = block->items[i];
	block->nr -= half->nr;
	put_full_locked(half);
	kr_unlock(&work.lock);
}

void kr_work_flush(struct kr_marker *mk)
{
	for (uint32_t i = 0; i < KR_FIFO_ITEMS; i++) {
		if (mk->fifo[i])
			kr_work_put(mk, mk->fifo[i]);
		mk->fifo[i] = 0;
	}
	if (!mk->block)
		return;
	kr_lock(&work.lock);
	if (mk->block->nr)
		put_full_locked(mk->block);
	else
		put_empty_locked(mk->block);
	kr_unlock(&work.lock);
	mk->block = NULL;
}

bool kr_work_take(struct kr_marker *mk)
{
	if (!READ_ONCE(work.full))
		return false;
	kr_lock(&work.lock);
	if (work.full) {
		if (mk->block)
			put_empty_locked(mk->block);
		mk->block = work.full;
		WRITE_ONCE(work.full, mk->block->next);
	}
	kr_unlock(&work.lock);
	return mk->block && mk->block->nr;
}
