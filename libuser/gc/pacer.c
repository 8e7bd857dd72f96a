/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * When a cycle begins. Arithmetic only: no clock, no lock, no memory, so that
 * a test can run years of it in a moment (tests/unit/test_pacer.c).
 *
 * DOC: Two numbers matter, both in bytes of heap_live, which is what the last
 * cycle has found live plus what was allocated since:
 *
 *	goal	where the heap should be when the next cycle has ended:
 *		marked + (marked + roots) * percent / 100. Roots count because
 *		a cycle costs as much for them as for objects; a program of big
 *		stacks and a small heap would else collect all the time. A
 *		memory limit may lower the goal.
 *	trigger	where the cycle begins. Marking takes time and the program
 *		allocates meanwhile, so that is earlier by the "runway".
 *
 * The runway is (expected scan work) * (cons/mark), the ratio of how fast the
 * program allocates to how fast a cycle marks with the CPU share it has. The
 * ratio is measured in each cycle and the largest of the last few counts: a
 * late trigger hurts, for allocations must then help, and an early one costs a
 * little. This is the design of Go's proposal 44167. The trigger is never below
 * 70 % of the way from marked to goal, or a burst would make cycles follow each
 * other, and never above 95 %. Where the world is stopped while it is marked
 * nothing is allocated meanwhile: trigger and goal are one.
 *
 * The limit covers all that the heap costs; what is no object is subtracted, and
 * some head room for what is in flight. If the goal from the limit is below what
 * is live, each cycle begins at once after the last: a death spiral. So the
 * limiter counts CPU time in a bucket that fills by what the collector takes
 * and drains by what the program gets. It is full when the collector had more
 * than half for so long that the excess is LIMITER_NS on each CPU. Until it has
 * drained to half the limit is ignored in favour of the percentage, or of a
 * tenth above what is live if that is off: the program would rather be killed
 * than stand still, as its users say of every runtime without this.
 */
#include "gc/pacer.h"

#define TRIGGER_MIN	0.70
#define TRIGGER_MAX	0.95
#define BG_SHARE	0.25		/* of all CPUs, for a concurrent cycle */
#define LIMITER_NS	250000000ULL
#define HEADROOM_MIN	(1ULL << 20)
#define HEADROOM_SHARE	33		/* 3 % */
#define LIMITED_SHARE	10

static uint64_t add_clamped(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* a * b / c where a * b may be too large. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 x = (unsigned __int128)a * b / c;

	return x > UINT64_MAX ? UINT64_MAX : (uint64_t)x;
}

static uint64_t percent_goal(const struct kr_pacer *p)
{
	uint64_t base = p->heap_marked_bytes, goal, min;

	if (p->percent < 0)
		return UINT64_MAX;
	goal = add_clamped(base, scale(add_clamped(base, p->root_bytes),
				       (uint64_t)p->percent, 100));
	min = scale(KR_PACER_MIN_HEAP, (uint64_t)p->percent, 100);
	return goal > min ? goal : min;
}

static uint64_t limit_goal(const struct kr_pacer *p)
{
	uint64_t room = p->limit_bytes, head;

	if (room == KR_PACER_NO_LIMIT)
		return UINT64_MAX;
	room = room > p->other_bytes ? room - p->other_bytes : 0;
	head = room / HEADROOM_SHARE;
	if (head < HEADROOM_MIN)
		head = HEADROOM_MIN;
	room = room > head ? room - head : 0;
	return room > p->heap_marked_bytes ? room : p->heap_marked_bytes;
}

double kr_pacer_cons_mark(const struct kr_pacer *p)
{
	double most = 0;

	for (uint32_t i = 0; i < KR_PACER_HISTORY; i++)
		if (p->cons_mark[i] > most)
			most = p->cons_mark[i];
	return most;
}

bool kr_pacer_is_over(const struct kr_pacer *p)
{
	return p->goal_is_limit &&
	       (p->limiting || limit_goal(p) <= p->heap_marked_bytes);
}

/* So much above what is live that a cycle does not follow at once. */
static uint64_t least_goal(const struct kr_pacer *p)
{
	return add_clamped(p->heap_marked_bytes, p->heap_marked_bytes /
			   LIMITED_SHARE + HEADROOM_MIN);
}

static uint64_t goal_of(const struct kr_pacer *p)
{
	uint64_t goal = percent_goal(p), limit = limit_goal(p);
	uint64_t least = least_goal(p);

	if (p->set_goal_bytes)
		return p->set_goal_bytes > least ? p->set_goal_bytes : least;
	if (!p->goal_is_limit)
		return goal;
	if (!p->limiting)
		return limit;
	if (goal == UINT64_MAX || goal < least)
		return limit > least ? limit : least;
	return goal;
}

static void update(struct kr_pacer *p)
{
	double runway, trigger, lo, hi;
	uint64_t goal, way;

	p->goal_is_limit = limit_goal(p) < percent_goal(p);
	goal = goal_of(p);
	p->goal_bytes = goal;
	p->trigger_bytes = goal;
	if (goal == UINT64_MAX || !p->nr_cons_mark)
		return;
	way = goal - p->heap_marked_bytes;
	lo = (double)p->heap_marked_bytes + (double)way * TRIGGER_MIN;
	hi = (double)p->heap_marked_bytes + (double)way * TRIGGER_MAX;
	runway = (double)p->scan_bytes * kr_pacer_cons_mark(p);
	trigger = (double)goal - runway;
	if (trigger < lo)
		trigger = lo;
	if (trigger > hi)
		trigger = hi;
	p->trigger_bytes = (uint64_t)trigger;
}

void kr_pacer_init(struct kr_pacer *p, uint32_t nr_procs)
{
	*p = (struct kr_pacer){
		.nr_procs = nr_procs ? nr_procs : 1,
		.percent = KR_PACER_PERCENT,
		.limit_bytes = KR_PACER_NO_LIMIT,
	};
	p->bucket_max_ns = LIMITER_NS * p->nr_procs;
	update(p);
}

void kr_pacer_set_percent(struct kr_pacer *p, int32_t percent)
{
	p->percent = percent < 0 ? KR_PACER_OFF : percent;
	update(p);
}

void kr_pacer_set_limit(struct kr_pacer *p, uint64_t limit_bytes)
{
	p->limit_bytes = limit_bytes;
	update(p);
}

void kr_pacer_set_goal(struct kr_pacer *p, uint64_t goal_bytes)
{
	p->set_goal_bytes = goal_bytes;
	update(p);
}

void kr_pacer_set_other(struct kr_pacer *p, uint64_t other_bytes)
{
	p->other_bytes = other_bytes;
	update(p);
}

/*
 * Both rates are per CPU: what one CPU of the program allocates while it runs,
 * and what one CPU of the collector scans. A cycle has BG_SHARE of the CPUs and
 * the program the rest.
 */
static void note_cons_mark(struct kr_pacer *p, const struct kr_pacer_cycle *c,
			   uint64_t scanned)
{
	double total = (double)c->mark_ns * p->nr_procs;
	double program = total - (double)c->mark_cpu_ns;
	double cons, mark;

	if (!c->concurrent) {
		/* No runway is needed, and none is known. */
		p->nr_cons_mark = 0;
		return;
	}
	if (!c->mark_ns || !c->mark_cpu_ns || !scanned)
		return;
	/* Where helpers took nearly all: as if the program had a twentieth. */
	if (program < total / 20)
		program = total / 20;
	cons = (double)c->alloc_bytes / program;
	mark = (double)scanned / (double)c->mark_cpu_ns;
	p->cons_mark[p->nr_cons_mark++ % KR_PACER_HISTORY] =
		cons / mark * (1 - BG_SHARE) / BG_SHARE;
	/* Not 0 again, which says that nothing is known. */
	if (!p->nr_cons_mark)
		p->nr_cons_mark = KR_PACER_HISTORY;
}

void kr_pacer_cycle(struct kr_pacer *p, const struct kr_pacer_cycle *c)
{
	p->root_bytes = add_clamped(c->stack_bytes, c->global_bytes);
	p->heap_marked_bytes = c->heap_marked_bytes;
	p->scan_bytes = add_clamped(c->heap_scan_bytes, p->root_bytes);
	note_cons_mark(p, c, p->scan_bytes);
	update(p);
}

double kr_pacer_assist(const struct kr_pacer *p, uint64_t live_bytes,
		       uint64_t scanned_bytes)
{
	uint64_t expected = p->scan_bytes;
	uint64_t work, room;

	if (p->limiting || p->goal_bytes == UINT64_MAX)
		return 0;
	/* More than last time: then all of the heap may be live. */
	if (scanned_bytes >= expected)
		expected = add_clamped(live_bytes, p->root_bytes);
	work = expected > scanned_bytes ? expected - scanned_bytes : 0;
	room = p->goal_bytes > live_bytes ? p->goal_bytes - live_bytes : 0;
	/* Near the goal, and beyond: within so much more. */
	if (room < p->goal_bytes / 64)
		room = p->goal_bytes / 64;
	return (double)work / (double)(room ? room : 1);
}

void kr_pacer_spent(struct kr_pacer *p, uint64_t gc_cpu_ns,
		    uint64_t total_cpu_ns)
{
	uint64_t program = total_cpu_ns > gc_cpu_ns ?
			   total_cpu_ns - gc_cpu_ns : 0;
	bool limiting = p->limiting;

	p->bucket_ns = add_clamped(p->bucket_ns, gc_cpu_ns);
	p->bucket_ns = p->bucket_ns > program ? p->bucket_ns - program : 0;
	if (p->bucket_ns >= p->bucket_max_ns) {
		p->bucket_ns = p->bucket_max_ns;
		limiting = true;
	} else if (p->bucket_ns <= p->bucket_max_ns / 2) {
		limiting = false;
	}
	if (limiting == p->limiting)
		return;
	p->limiting = limiting;
	p->nr_limited += limiting;
	update(p);
}
