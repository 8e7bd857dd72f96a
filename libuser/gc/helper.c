/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Threads that mark while the world is stopped, beside the one that has stopped
 * it: the CPUs of all other Ps have nothing to do then.
 *
 * DOC: There are none at first. When a stop was long the spawner makes one for
 * each P but one; they sleep until the next long stop, and stay. They are no Ms
 * and have no P: whoever is stopped would have to be woken, and go back to where
 * it was. They hold no lock while the program runs, and allocate nothing.
 *
 *	round	odd: helpers may mark. Each change lets those asleep look.
 *	nr_busy	those that may be marking
 *
 *	(A) nr_busy + 1		(C) round + 1
 *	(B) is it my round?	(D) nr_busy is 0?
 *
 * All four are full barriers or follow one: one that goes on at B is seen at D,
 * and else does not go on. So when kr_help_mark() returns no helper marks.
 *
 * All is marked when no root is left, the list is empty and nobody is between
 * kr_work_enter() and kr_work_leave(): kr_work_is_over() looks at the last two at
 * a time.
 */
#include "base/bug.h"
#include "gc/state.h"
#include "mem/persist.h"
#include "os/os.h"
#include "sched/sched.h"

#define MAX_HELPERS	31
#define STACK_BYTES	(64UL << 10)
#define NR_SPINS	1000
#define NAP_NS		20000ULL

static struct {
	uint32_t round KR_PAIR_ALIGNED;		/* futex */
	bool roots_only;
	uint32_t nr_busy KR_PAIR_ALIGNED;
	uint32_t nr_made, nr_wanted;
	struct kr_marker *markers;		/* of all of them */
} help;

static void mark(struct kr_marker *mk, uint32_t round)
{
	bool roots_only = READ_ONCE(help.roots_only);

	while (READ_ONCE(help.round) == round) {
		/* Who has nothing is not working, for others to see the end. */
		if (roots_only ? !kr_mark_roots_left() : kr_work_is_empty()) {
			cpu_relax();
			continue;
		}
		kr_work_enter();
		if (roots_only)
			kr_mark_some_roots(mk);
		else
			kr_mark_drain(mk);
		kr_work_leave(mk);
	}
}

static void *helper(void *arg)
{
	struct kr_marker *mk = arg;
	uint32_t seen = 0;

	for (;;) {
		uint32_t round = smp_load_acquire(&help.round);

		if (round == seen || !(round & 1)) {
			kr_futex_wait(&help.round, round, UINT64_MAX);
			continue;
		}
		seen = round;
		kr_add(&help.nr_busy, 1);
		if (smp_load_acquire(&help.round) == round)
			mark(mk, round);
		kr_sub(&help.nr_busy, 1);
	}
	return NULL;
}

/* The spawner's. */
static void make(void)
{
	uint32_t nr = READ_ONCE(help.nr_wanted);
	unsigned int nr_cpus = kr_cpus_allowed(0, NULL, 0);
	pthread_t thread;

	if (nr >= nr_cpus)
		nr = nr_cpus ? nr_cpus - 1 : 0;

	if (!help.markers)
		help.markers = kr_persist_alloc(MAX_HELPERS *
						sizeof(*help.markers));
	while (help.markers && help.nr_made < nr &&
	       !kr_thread_create(helper, &help.markers[help.nr_made],
				 STACK_BYTES, &thread))
		/* Release: its marker is there. */
		smp_store_release(&help.nr_made, help.nr_made + 1);
	WRITE_ONCE(sched.nr_helpers, help.nr_made);
}

void kr_help_init(void)
{
	sched.make_helpers = make;
}

void kr_help_want(void)
{
	uint32_t nr = kr_nr_procs() - 1;

	if (nr > MAX_HELPERS)
		nr = MAX_HELPERS;
	if (nr <= READ_ONCE(help.nr_wanted) || !READ_ONCE(sched.running))
		return;
	WRITE_ONCE(help.nr_wanted, nr);
	kr_spawner_helpers();
}

/* Those of the parent are not there. */
void kr_help_forked(void)
{
	help.nr_made = help.nr_wanted = 0;
	help.nr_busy = 0;
	help.round = 0;
	sched.nr_helpers = 0;
}

static void add_counts(struct kr_marker *to, struct kr_marker *from)
{
	KR_ASSERT(!from->block);
	to->marked_bytes += from->marked_bytes;
	to->nr_marked += from->nr_marked;
	to->scan_bytes += from->scan_bytes;
	to->stack_bytes += from->stack_bytes;
	to->root_bytes += from->root_bytes;
	*from = (struct kr_marker){ .block = NULL };
}

/* A helper's thread may have lost its CPU, and may be waiting for this one. */
static void relax(uint32_t nr)
{
	if (nr % NR_SPINS == NR_SPINS - 1)
		kr_clock_sleep_ns(NAP_NS);
	else
		cpu_relax();
}

bool kr_help_mark(struct kr_marker *mk, bool roots_only)
{
	uint32_t nr_looks = 0;
	uint32_t nr = smp_load_acquire(&help.nr_made);

	if (!nr)
		return false;
	mk->alone = false;
	kr_work_flush(mk);
	WRITE_ONCE(help.roots_only, roots_only);
	kr_add(&help.round, 1);
	kr_futex_wake(&help.round, (int)nr);
	if (roots_only) {
		while (kr_mark_some_roots(mk))
			;
	} else {
		while (!kr_work_is_over()) {
			if (kr_work_is_empty()) {
				relax(nr_looks++);
				continue;
			}
			kr_work_enter();
			kr_mark_drain(mk);
			kr_work_leave(mk);
		}
	}
	kr_add(&help.round, 1);
	while (smp_load_acquire(&help.nr_busy))
		relax(nr_looks++);
	for (uint32_t i = 0; i < nr; i++)
		add_counts(mk, &help.markers[i]);
	mk->alone = true;
	return true;
}
