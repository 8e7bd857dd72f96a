/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The timers of a P in order of their time.
 *
 * DOC: What is near is in a heap, and while there are few all of them are. The
 * heap has four children per node, as Go's: half the levels of a binary one, and
 * the children share a cache line. Nodes know a slot, slots know the timer and
 * the node; a timer can thus be removed from the middle, and those that are
 * armed and stopped again, as most deadlines are, leave nothing behind. (Go
 * marks them dead and sweeps: its timers live in a garbage collected heap, ours
 * on stacks.)
 *
 * Each level of a heap of a million is a cache miss or two, for a node and for
 * the slot that is told of it. So what comes to a heap of CROWD and is later
 * than the wheel's tick goes to the wheel (wheel.c), and from there to the heap
 * when all before its tick is gone: it pays for a few levels that are in the
 * cache. A queue is settled if the wheel is empty, or if the top of the heap is
 * not later than the wheel's tick and no bucket is half open: then the top is
 * the earliest of all. Nothing else about the heap matters, what is later may
 * be in it as well. (So it grows if many are armed before the first of a wheel
 * whose timers are all far away: the tick does not go back. It also takes all if
 * there is no memory for a wheel.)
 *
 * A bucket may hold any number, and when its time has come all of them have to
 * be looked at before it is known which is first. That is done SETTLE_NODES at a
 * time, and the lock is free in between.
 *
 * The tables grow by mapping memory, never by malloc(): a goroutine preempted
 * inside malloc() may hold its lock.
 */
#include "sched/tqueue.h"

#include "base/barrier.h"
#include "base/bug.h"
#include "base/compiler.h"
#include "os/os.h"

#define ARITY		4
#define TIMERS_FIRST	256	/* a page of nodes; doubles */
#define NODES_PAD	3	/* before the root: children fill a line */
#define CROWD		256	/* in the heap; then there is a wheel */
#define SETTLE_NODES	KR_SIZE(1024, 1)	/* some 20 us */
#define IN_WHEEL	(1u << 31)	/* of a slot's pos */

static inline struct kr_timer_node *node_at(const struct kr_tqueue *q,
					    uint32_t pos)
{
	return &q->nodes[pos + NODES_PAD];
}

static inline void place(struct kr_tqueue *q, uint32_t pos,
			 struct kr_timer_node node)
{
	*node_at(q, pos) = node;
	q->slots[node.slot].pos = pos;
}

static void sift_up(struct kr_tqueue *q, uint32_t pos)
{
	struct kr_timer_node moved = *node_at(q, pos);

	while (pos) {
		uint32_t up = (pos - 1) / ARITY;

		if (node_at(q, up)->when_ns <= moved.when_ns)
			break;
		place(q, pos, *node_at(q, up));
		pos = up;
	}
	place(q, pos, moved);
}

/* The lines of all children's children, one of which comes next. */
static inline void prefetch_below(const struct kr_tqueue *q, uint32_t pos)
{
	uint64_t below = (uint64_t)pos * ARITY + 1;

	if (below + ARITY * ARITY > q->nr_heap)
		return;
	for (uint32_t i = 0; i < ARITY; i++)
		__builtin_prefetch(node_at(q, (uint32_t)below + i * ARITY));
}

static void sift_down(struct kr_tqueue *q, uint32_t pos)
{
	struct kr_timer_node moved = *node_at(q, pos);

	for (;;) {
		uint64_t first = (uint64_t)pos * ARITY + 1;
		const struct kr_timer_node *child;
		uint32_t best = 0, nr;

		if (first >= q->nr_heap)
			break;
		prefetch_below(q, (uint32_t)first);
		nr = q->nr_heap - (uint32_t)first;
		nr = nr < ARITY ? nr : ARITY;
		child = node_at(q, (uint32_t)first);
		for (uint32_t i = 1; i < nr; i++)
			if (child[i].when_ns < child[best].when_ns)
				best = i;
		if (moved.when_ns <= child[best].when_ns)
			break;
		place(q, pos, child[best]);
		pos = (uint32_t)first + best;
	}
	place(q, pos, moved);
}

static void *grow(void *table, size_t size, uint32_t *max)
{
	size_t old = *max, more = old ? old * 2 : TIMERS_FIRST;

	if (kr_vm_grow(old * size, more * size, &table))
		kr_throw("timer: out of memory");
	*max = (uint32_t)more;
	return table;
}

static void push_heap(struct kr_tqueue *q, struct kr_timer_node node)
{
	if (q->nr_heap + NODES_PAD >= q->max_heap)
		q->nodes = grow(q->nodes, sizeof(*q->nodes), &q->max_heap);
	*node_at(q, q->nr_heap) = node;
	sift_up(q, q->nr_heap++);
}

static void drop_heap(struct kr_tqueue *q, uint32_t pos)
{
	q->nr_heap--;
	if (pos == q->nr_heap)
		return;
	*node_at(q, pos) = *node_at(q, q->nr_heap);
	if (pos && node_at(q, pos)->when_ns <
			   node_at(q, (pos - 1) / ARITY)->when_ns)
		sift_up(q, pos);
	else
		sift_down(q, pos);
}

static inline void push_wheel(struct kr_tqueue *q, struct kr_timer_node node)
{
	q->slots[node.slot].pos = IN_WHEEL | kr_wheel_put(q->wheel, node);
}

static void drop_wheel(struct kr_tqueue *q, uint32_t pos)
{
	uint32_t moved = kr_wheel_remove(q->wheel, pos);

	if (moved != KR_WHEEL_NONE)
		q->slots[moved].pos = IN_WHEEL | pos;
}

/* With a crowd in the heap: is @when_ns for the wheel? */
static bool is_far(struct kr_tqueue *q, uint64_t when_ns)
{
	if (unlikely(!q->wheel)) {
		q->wheel = kr_wheel_make();
		if (!q->wheel)
			return false;
	}
	if (!q->wheel->nr)
		kr_wheel_begin(q->wheel, kr_tick(node_at(q, 0)->when_ns));
	return kr_tick(when_ns) > q->wheel->tick;
}

static uint32_t get_slot(struct kr_tqueue *q)
{
	uint32_t slot = q->free_slot - 1;

	if (q->free_slot) {
		q->free_slot = q->slots[slot].pos;
		return slot;
	}
	/* Without free slots as many are in use as there are timers. */
	if (q->nr == q->max_slots)
		q->slots = grow(q->slots, sizeof(*q->slots), &q->max_slots);
	return q->nr;
}

uint32_t kr_tqueue_insert(struct kr_tqueue *q, struct kr_timer *t,
			  uint64_t when_ns)
{
	struct kr_timer_node node = { when_ns, get_slot(q) };

	q->slots[node.slot].timer = t;
	WRITE_ONCE(q->nr, q->nr + 1);
	if (q->nr_heap >= CROWD && is_far(q, when_ns))
		push_wheel(q, node);
	else
		push_heap(q, node);
	return node.slot;
}

static void put_slot(struct kr_tqueue *q, uint32_t slot)
{
	q->slots[slot].pos = q->free_slot;
	q->slots[slot].timer = NULL;	/* refers to it no more */
	q->free_slot = slot + 1;
	WRITE_ONCE(q->nr, q->nr - 1);
}

void kr_tqueue_remove(struct kr_tqueue *q, uint32_t slot)
{
	uint32_t pos = q->slots[slot].pos;

	if (pos & IN_WHEEL)
		drop_wheel(q, pos & ~IN_WHEEL);
	else
		drop_heap(q, pos);
	put_slot(q, slot);
}

/* Of the bucket that is being opened: to where they belong now. */
static uint32_t move_some(struct kr_tqueue *q)
{
	struct kr_timer_node nodes[KR_WHEEL_CHUNK];
	struct kr_wheel *w = q->wheel;
	uint32_t nr = kr_wheel_take(w, nodes);

	for (uint32_t i = 0; i < nr; i++)
		__builtin_prefetch(&q->slots[nodes[i].slot], 1);
	for (uint32_t i = 0; i < nr; i++) {
		if (kr_tick(nodes[i].when_ns) > w->tick)
			push_wheel(q, nodes[i]);
		else
			push_heap(q, nodes[i]);
	}
	return nr;
}

static inline bool is_settled(const struct kr_tqueue *q)
{
	const struct kr_wheel *w = q->wheel;

	if (!w->nr)
		return true;
	return w->opening == KR_WHEEL_NONE && q->nr_heap &&
	       kr_tick(node_at(q, 0)->when_ns) <= w->tick;
}

bool kr_tqueue_settle_slow(struct kr_tqueue *q)
{
	uint32_t nr = 0;

	while (!is_settled(q)) {
		if (nr >= SETTLE_NODES)
			return false;
		if (q->wheel->opening == KR_WHEEL_NONE)
			kr_wheel_open(q->wheel);
		nr += move_some(q);
	}
	return true;
}

uint64_t kr_tqueue_top_ns(const struct kr_tqueue *q)
{
	return q->nr_heap ? node_at(q, 0)->when_ns : 0;
}

struct kr_timer *kr_tqueue_pop(struct kr_tqueue *q)
{
	uint32_t slot = node_at(q, 0)->slot;
	struct kr_timer *t = q->slots[slot].timer;

	drop_heap(q, 0);
	put_slot(q, slot);
	return t;
}

struct kr_timer *kr_tqueue_pop_any(struct kr_tqueue *q, uint64_t *ret_when_ns)
{
	if (!q->nr)
		return NULL;
	while (!q->nr_heap)
		kr_tqueue_settle(q);
	*ret_when_ns = node_at(q, 0)->when_ns;
	return kr_tqueue_pop(q);
}
