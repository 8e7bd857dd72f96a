/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Who polls the network.
 *
 * DOC: Descriptors are in one epoll instance, edge-triggered. At most one
 * thread *waits* in it (it has claimed netpoll.waiting); it carries no P, and
 * as it is not in the pool of idle Ms nobody gives it one. Others may look
 * without waiting. There are three that poll:
 *
 *	- An M whose P has nothing to run looks, before it tries to steal. So
 *	  busy Ps feed themselves, many events to a system call.
 *	- An M that goes idle waits in epoll in place of the pool, and until the
 *	  earliest timer if nobody else keeps time. With what comes it takes an
 *	  idle P and goes on: no other thread is woken. If there is no idle P
 *	  the goroutines go to the global queue and the M to the pool.
 *	  (Both as Go's, runtime/proc.go: findRunnable.)
 *	- The watch, a thread that is no M, makes sure that somebody polls when
 *	  all Ps compute, or do not come to an end of their own queues. While an
 *	  M waits in epoll it sleeps. Else it comes back after 1 ms, after longer
 *	  and longer pauses up to 4 ms while others poll; if nobody has since,
 *	  it waits in epoll itself, so that the answer to an event does not
 *	  depend on a tick, until a P is idle or wants to poll again. What comes
 *	  goes to the global queue, and the assist sees somebody wait there. It
 *	  does so at once when an M leaves epoll with events and all Ps are busy.
 *
 * If all is idle one thread is in epoll and the watch asleep: no wake-ups.
 *
 * The M that leaves epoll, and the watch that falls asleep:
 *
 *	M				watch
 *	(A) waiting := 0		(C) asleep := 1
 *	(B) load asleep, wake it	(D) load waiting, sleep
 *
 * A is a locked operation and a barrier follows C, so the watch does not sleep
 * while nobody waits. All the rest may be wrong for a moment: the watch finds
 * out at its next look.
 *
 * Rejected: a thread that always waits in epoll. It is simpler, but each event
 * costs a switch of threads there and, for an idle process, another one to the
 * M; doc/design/measurements.md has the numbers. Rejected: sysmon in place of
 * the watch, as Go does. The module has none, and its 10 ms would be every
 * goroutine's latency behind hogs. Rejected: a timer of a P in its place. A
 * timer that is due makes every switch look at the clock.
 */
#include "os/io.h"
#include "sched/netpoll.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/virtual.h"

#define PAUSE_MIN_NS	1000000ULL
#define PAUSE_MAX_NS	KR_NETPOLL_TICK_NS
/* Between rounds of the watch while all Ps are busy: events come in batches. */
#define REST_NS		100000ULL
#define WATCH_STACK	(64UL << 10)

static struct {
	int ep;
	uint32_t waiting KR_PAIR_ALIGNED;	/* somebody waits in epoll */
	bool wanted;		/* a P would have polled while somebody waited */
	bool no_p;		/* who waited found no idle P for the events */
	uint32_t nr_polls;	/* about */
	uint32_t watch_asleep;	/* futex */
	uint32_t nr_pauses;	/* of the watch */
	uint32_t nr_threads;
	uint32_t nr_ms;		/* of which one waits in epoll, or none */
} netpoll;

uint32_t kr_netpoll_nr_fds;

/* Goroutines that are to run, the first event first; *@nr of them. */
static struct g *collect(uint64_t deadline_ns, unsigned int *nr)
{
	struct kr_epoll_event events[KR_EPOLL_BATCH];
	struct g *list = NULL;
	int nr_events = kr_epoll_wait(netpoll.ep, events, deadline_ns);

	WRITE_ONCE(netpoll.nr_polls, READ_ONCE(netpoll.nr_polls) + 1);
	*nr = 0;
	for (int i = nr_events; i-- > 0;)
		*nr += kr_pollfd_event((int64_t)events[i].data, events[i].in,
				       events[i].out, events[i].odd, &list);
	return list;
}

static struct g *next_ready(struct g **list)
{
	struct g *gp = *list;

	*list = gp->next;
	KR_ASSERT(READ_ONCE(gp->state) == G_WAITING);
	WRITE_ONCE(gp->state, G_RUNNABLE);
	return gp;
}

static void put_local(struct m *mp, struct g *list)
{
	while (list)
		kr_runq_put(mp, next_ready(&list), false);
	smp_mb();	/* the queue before the idle Ps, see proc.c */
	kr_wakep();
}

static void put_global(struct g *list)
{
	while (list)
		kr_globq_put(next_ready(&list));
	kr_wakep();
}

struct g *kr_netpoll_find(struct m *mp)
{
	struct g *list, *gp;
	unsigned int nr;

	if (READ_ONCE(netpoll.waiting)) {
		if (!READ_ONCE(netpoll.wanted))
			WRITE_ONCE(netpoll.wanted, true);
		return NULL;
	}
	list = collect(0, &nr);
	if (!list)
		return NULL;
	gp = next_ready(&list);
	if (list)
		put_local(mp, list);
	return gp;
}

/* ---- waiting ---- */

bool kr_netpoll_is_claimed(void)
{
	return READ_ONCE(netpoll.waiting);
}

bool kr_netpoll_claim(void)
{
	return kr_netpoll_is_on() && !READ_ONCE(netpoll.waiting) &&
	       !kr_time_is_virtual() && kr_cas(&netpoll.waiting, 0, 1);
}

static void give_up(void)
{
	kr_xchg(&netpoll.waiting, 0);				/* (A) */
	if (READ_ONCE(netpoll.watch_asleep)) {			/* (B) */
		WRITE_ONCE(netpoll.watch_asleep, 0);
		kr_futex_wake(&netpoll.watch_asleep, 1);
	}
}

int kr_netpoll_block(struct m *mp, uint64_t deadline_ns)
{
	struct g *list = NULL;
	struct p *pp;
	unsigned int nr;

	kr_xchg(&netpoll.nr_ms, 1);
	/*
	 * After the last descriptor has been closed nothing would end the wait. Who
	 * closes it later is a goroutine, and counts this M when it parks itself.
	 */
	if (kr_netpoll_is_on())
		list = collect(deadline_ns, &nr);
	WRITE_ONCE(netpoll.nr_ms, 0);
	pp = list ? kr_idle_get() : NULL;
	if (pp)
		kr_p_acquire(mp, pp);
	WRITE_ONCE(netpoll.no_p, list && !pp);
	give_up();
	if (!list)
		return -ETIMEDOUT;
	if (pp) {
		if (nr == 1)
			kr_runq_put(mp, next_ready(&list), false);
		else
			put_local(mp, list);
	} else {
		put_global(list);
	}
	return 0;
}

/* ---- the watch ---- */

static void watch_sleep(void)
{
	WRITE_ONCE(netpoll.watch_asleep, 1);			/* (C) */
	smp_mb();
	while (READ_ONCE(netpoll.watch_asleep) &&
	       READ_ONCE(netpoll.waiting))			/* (D) */
		kr_futex_wait(&netpoll.watch_asleep, 1, UINT64_MAX);
	WRITE_ONCE(netpoll.watch_asleep, 0);
}

/*
 * The next timer, if an M that left epoll kept time until then: having found
 * work it wakes nobody for a timer that is far off, see pass_timekeeping().
 */
static uint64_t unkept_timer_ns(void)
{
	if (!READ_ONCE(sched.nr_idle) || READ_ONCE(sched.timekeeper))
		return UINT64_MAX;
	return kr_timers_next();
}

/* Nobody else polls: wait in epoll, it has been claimed. */
static void watch_poll(void)
{
	bool again = true;

	WRITE_ONCE(netpoll.wanted, false);
	while (again) {
		uint64_t timer = unkept_timer_ns();
		unsigned int nr;
		struct g *list = collect(timer, &nr);

		again = !READ_ONCE(sched.stopping) &&
			!READ_ONCE(netpoll.wanted) &&
			!(nr && READ_ONCE(sched.nr_idle));
		if (list)
			put_global(list);
		if (timer != UINT64_MAX && timer <= kr_clock_now_ns()) {
			kr_wakep();
			break;
		}
		if (again)
			kr_clock_sleep_ns(REST_NS);
	}
	kr_xchg(&netpoll.waiting, 0);
}

static void *watch_main(void *arg)
{
	uint64_t pause_ns = PAUSE_MIN_NS;
	uint32_t seen = 0;

	(void)arg;
	/* It was made by a goroutine, which may be bound to a CPU. */
	kr_cpu_unbind();
	while (!READ_ONCE(sched.stopping)) {
		uint32_t nr;

		if (READ_ONCE(netpoll.waiting))
			watch_sleep();
		if (READ_ONCE(netpoll.no_p)) {
			WRITE_ONCE(netpoll.no_p, false);
			pause_ns = PAUSE_MIN_NS;
			if (kr_cas(&netpoll.waiting, 0, 1))
				watch_poll();
			continue;
		}
		WRITE_ONCE(netpoll.nr_pauses, netpoll.nr_pauses + 1);
		kr_clock_sleep_ns(pause_ns);
		if (unkept_timer_ns() <= kr_clock_now_ns() + PAUSE_MAX_NS)
			kr_wakep();
		nr = READ_ONCE(netpoll.nr_polls) - seen;
		seen += nr;
		if (nr >= pause_ns / PAUSE_MIN_NS) {
			pause_ns *= 2;
			if (pause_ns > PAUSE_MAX_NS)
				pause_ns = PAUSE_MAX_NS;
			continue;
		}
		pause_ns = PAUSE_MIN_NS;
		if (nr || !kr_cas(&netpoll.waiting, 0, 1))
			continue;
		watch_poll();
	}
	return NULL;
}

/* ---- descriptors come and go ---- */

static int init_err;

static void init_once(void)
{
	pthread_t thread;

	netpoll.ep = kr_epoll_create();
	if (netpoll.ep < 0) {
		init_err = netpoll.ep;
		return;
	}
	init_err = kr_thread_create(watch_main, NULL, WATCH_STACK, &thread);
	if (!init_err)
		WRITE_ONCE(netpoll.nr_threads, 1);
}

uint32_t kr_netpoll_nr_ms(void)
{
	return READ_ONCE(netpoll.nr_ms);
}

uint32_t kr_netpoll_nr_threads(void)
{
	return READ_ONCE(netpoll.nr_threads);
}

uint32_t kr_netpoll_nr_pauses(void)
{
	return READ_ONCE(netpoll.nr_pauses);
}

int kr_netpoll_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!READ_ONCE(sched.running))
		return -EPERM;
	pthread_once(&once, init_once);
	return init_err;
}

int kr_netpoll_add(int fd, int64_t handle)
{
	int err = kr_epoll_add(netpoll.ep, fd, (uint64_t)handle);

	if (!err)
		kr_add(&kr_netpoll_nr_fds, 1);
	return err;
}

void kr_netpoll_del(int fd)
{
	kr_epoll_del(netpoll.ep, fd);
	kr_sub(&kr_netpoll_nr_fds, 1);
}
