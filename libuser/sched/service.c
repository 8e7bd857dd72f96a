/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Where Ms come from: the service thread and the spawner.
 *
 * DOC: The thread that called kaus_run() serves: it is poked when the pool is
 * empty, by a trampoline, by the module, by whoever has a P and no M. It never
 * waits for anything but pokes. A second thread, the spawner, calls
 * pthread_create() when asked, and does what else may take long. They are two
 * because pthread_create() may wait
 * for a lock of the C library that a preempted goroutine holds, and that
 * goroutine may need the very P that is waiting to be served. So the service
 * takes the P and first looks for a preempted goroutine, in the queue of the P
 * and in the global one: that one brings its own M. Only when there is none the
 * P waits for a new M on the pending list. Ms look there before they park, and
 * goroutines that come back from a sleep before they give up.
 */
#include "mem/persist.h"
#include "mem/scavenge.h"
#include "sched/attach.h"
#include "sched/deadlock.h"
#include "sched/follow.h"
#include "sched/gpool.h"
#include "sched/runq.h"
#include "sched/sched.h"

#define M_STACK_BYTES	(256UL << 10)
#define SPAWNER_STACK_BYTES (64UL << 10)
#define ALTSTACK_BYTES	(64UL << 10)
#define SPARE_MS	2
#define WANT_TRIM	(1U << 31)
#define WANT_LOOK	(1U << 30)
#define WANT_SCAVENGER	(1U << 29)
#define WANT_REAP	(1U << 28)
#define WANT_FINALIZE	(1U << 27)
#define WANT_POKE	(1U << 26)
#define WANT_HELPERS	(1U << 25)
#define WANT_FLAGS	(WANT_TRIM | WANT_LOOK | WANT_SCAVENGER | WANT_REAP | \
			 WANT_FINALIZE | WANT_POKE | WANT_HELPERS)
#define TRIM_PERIOD_NS	250000000ULL
#define MAX_LOOKS	10
#define RETRY_MIN_NS	50000
#define RETRY_MAX_NS	1000000

struct m *kr_m_alloc(void)
{
	uint32_t id = sched.nr_ms;
	struct m *mp;

	if (id >= sched.max_ms)
		return NULL;
	mp = kr_persist_alloc(sizeof(*mp));
	if (!mp || kr_preempt_init(mp))
		return NULL;
	mp->id = id;
	mp->slot = (struct kaus_worker *)
		((char *)sched.hdr + KAUS_WORKERS_OFFSET(sched.max_procs)) + id;
	mp->slot->proc = KAUS_NONE;
	mp->bound_cpu = KAUS_NONE;
	mp->home = KAUS_NONE;
	sched.allm[id] = mp;
	smp_store_release(&sched.nr_ms, id + 1);
	return mp;
}

/*
 * Signal handlers do not fit on every goroutine's stack, or that is full. Mapped
 * before there is a thread, which could do nothing without.
 */
static void altstack_free(struct m *mp)
{
	kr_vm_unmap(mp->altstack, ALTSTACK_BYTES);
	mp->altstack = NULL;
}

static int altstack_use(struct m *mp)
{
	int err = kr_signal_altstack(mp->altstack, ALTSTACK_BYTES);

	if (err)
		altstack_free(mp);
	return err == -EEXIST ? 0 : err;
}

static void m_put_free(struct m *mp)
{
	kr_lock(&sched.lock);
	mp->free_next = sched.free_ms;
	sched.free_ms = mp;
	kr_unlock(&sched.lock);
}

/* Has the thread that @mp had left the process? */
static bool is_gone(struct m *mp)
{
	if (mp->last_tid && kr_thread_kill(mp->last_tid, 0) == -ESRCH)
		mp->last_tid = 0;
	return !mp->last_tid;
}

/* The spawner's; before it starts, nothing is free. */
static struct m *m_get_free(void)
{
	struct m **link, *mp;

	kr_lock(&sched.lock);
	for (link = &sched.free_ms; (mp = *link); link = &mp->free_next) {
		if (is_gone(mp)) {
			*link = mp->free_next;
			break;
		}
	}
	kr_unlock(&sched.lock);
	return mp;
}

/*
 * A thread that does not go waits in a destructor of the program's, or is another
 * one that has its number by now. Nobody looks for it for ever.
 */
static bool all_gone(void)
{
	bool all = true;

	kr_lock(&sched.lock);
	for (struct m *mp = sched.free_ms; mp; mp = mp->free_next) {
		if (is_gone(mp))
			continue;
		if (++mp->nr_looks < MAX_LOOKS)
			all = false;
		else
			mp->last_tid = 0;
	}
	kr_unlock(&sched.lock);
	return all;
}

/*
 * The thread is the program's own for the rest of its life: destructors of
 * thread-local values may call the library.
 */
static void m_end(struct m *mp)
{
	mp->last_tid = mp->tid;
	mp->nr_looks = 0;
	smp_store_release(&mp->tid, 0);
	kr_attach_leave(mp);
	/* A signal that comes late finds a thread that is nobody's. */
	kr_suspend_register(NULL);
	kr_suspend_end(&mp->suspend);
	WRITE_ONCE(mp->at_rest, KR_REST_NONE);
	kr_tls_m = NULL;
	if (mp->altstack) {
		kr_signal_no_altstack();
		altstack_free(mp);
	}
	kr_deadlock_thread_goes();
	kr_sub(&sched.nr_live_ms, 1);
	m_put_free(mp);
}

static void *m_main(void *arg)
{
	struct m *mp = arg;
	int err;

	kr_tls_m = mp;
	WRITE_ONCE(mp->slot->defer, 1);
	kr_context_thread(&mp->g0);
	mp->errno_addr = &errno;
	kr_m_settle(mp);
	err = altstack_use(mp);
	if (!err)
		err = sched.assist->thread_start(mp);
	if (err)
		kr_throw("service: a new thread cannot register");
	kr_suspend_register(&mp->suspend);
	smp_store_release(&mp->tid, kr_thread_tid());
	kr_add(&sched.nr_started, 1);
	kr_futex_wake(&sched.nr_started, 1);
	kr_m_loop(mp);
	m_end(mp);
	return NULL;
}

static int m_spawn(void)
{
	struct m *mp = m_get_free();
	pthread_t thread;
	int err;

	if (!mp)
		mp = kr_m_alloc();
	if (!mp)
		return -EAGAIN;
	err = kr_vm_map(ALTSTACK_BYTES, false, &mp->altstack);
	if (err) {
		m_put_free(mp);
		return err;
	}
	/* It may have had a thread, with a mask of its own. */
	mp->bound_cpu = KAUS_NONE;
	WRITE_ONCE(mp->slot->events, 0);
	WRITE_ONCE(mp->idle_round, READ_ONCE(sched.reap_round));
	WRITE_ONCE(mp->pooled, true);
	kr_deadlock_thread_comes();
	kr_add(&sched.nr_live_ms, 1);
	kr_add(&sched.nr_pooled, 1);
	err = kr_thread_create(m_main, mp, M_STACK_BYTES, &thread);
	if (err) {
		WRITE_ONCE(mp->pooled, false);
		kr_sub(&sched.nr_pooled, 1);
		kr_sub(&sched.nr_live_ms, 1);
		altstack_free(mp);
		m_put_free(mp);
	}
	kr_deadlock_thread_came();
	return err;
}

/*
 * A burst of sleeps in the kernel has made many Ms. Those that have been idle
 * for a whole round end, half of the surplus at a time; the round after the
 * last of them the spawner sleeps again, for as long as nothing happens.
 */
uint64_t kr_reap_ns = 1000000000;

static void end_idle(uint32_t surplus)
{
	uint32_t round = kr_add(&sched.reap_round, 1);
	uint32_t nr_ms = smp_load_acquire(&sched.nr_ms);
	uint32_t nr = (surplus + 1) / 2;

	for (uint32_t id = 1; id < nr_ms && nr; id++) {
		struct m *mp = sched.allm[id];

		if (!smp_load_acquire(&mp->tid) || !READ_ONCE(mp->pooled) ||
		    READ_ONCE(sched.timekeeper) == mp ||
		    round - READ_ONCE(mp->idle_round) < 2)
			continue;
		WRITE_ONCE(mp->ending, true);
		sched.assist->wake(mp);
		nr--;
	}
}

static uint32_t nr_surplus(void)
{
	uint32_t nr = READ_ONCE(sched.nr_pooled), keep = kr_keep_ms();

	return nr > keep ? nr - keep : 0;
}

/* A round. False: it was the last one. */
static bool reap(void)
{
	uint32_t nr = nr_surplus();

	if (nr) {
		end_idle(nr);
		return true;
	}
	if (!all_gone())
		return true;
	/* Who is idle from here on looks at it again, or is counted here. */
	kr_xchg(&sched.reaping, 0);
	if (nr_surplus() && kr_cas(&sched.reaping, 0, 1))
		return true;
	/* Threads that were about to go may have kept it from seeing one. */
	sched.assist->service_poke();
	return false;
}

/*
 * The spawner has time: it also gives back the memory of goroutines that ended
 * and that nobody has needed since, once a period as long as there is some, ends
 * threads, and looks how many Ps there should be.
 */
static struct {
	uint32_t wanted;	/* Ms to make, and WANT_FLAGS; futex */
	bool trims;		/* it looks without being told */
	bool all_back;		/* memory is short */
	uint64_t poke_delay_ns;	/* of WANT_POKE */
	pthread_t thread;
} spawner;

static void flush_idle_ps(void)
{
	kr_lock(&sched.lock);
	for (struct p *pp = sched.idle_ps; pp; pp = pp->link)
		kr_stack_cache_flush(&pp->stacks);
	kr_unlock(&sched.lock);
}

/* True if there is more to come. */
static bool trim(void)
{
	flush_idle_ps();
	kr_stack_trim();
	kr_gpool_trim();
	return kr_stack_is_idle() || kr_gpool_is_idle();
}

void kr_trim_hint(void)
{
	if (READ_ONCE(spawner.trims) ||
	    (!kr_stack_is_idle() && !kr_gpool_is_idle()))
		return;
	WRITE_ONCE(spawner.trims, true);
	kr_or(&spawner.wanted, WANT_TRIM);
	kr_futex_wake(&spawner.wanted, 1);
}

/* The heap has memory to return, for the first time, or it is asked to. */
static void want_scavenger(void)
{
	kr_or(&spawner.wanted, WANT_SCAVENGER);
	kr_futex_wake(&spawner.wanted, 1);
}

/* What the module has been asked for on behalf of the kernel. */
static uint64_t take_wanted(void)
{
	if (!READ_ONCE(sched.hdr->wanted))
		return 0;
	kr_xchg(&sched.hdr->wanted_why, 0);
	return kr_xchg(&sched.hdr->wanted, 0);
}

/* Memory is short: stacks and goroutines that nobody uses go back as well. */
static void pressed(void)
{
	WRITE_ONCE(spawner.all_back, true);
	/* It may be the control group's limit, which has been lowered. */
	kr_or(&spawner.wanted, WANT_TRIM | WANT_LOOK);
	kr_futex_wake(&spawner.wanted, 1);
}

static void start_scavenger(void)
{
	static const struct kr_scavenge_ops ops = { take_wanted, pressed };
	pthread_t thread;

	if (READ_ONCE(kr_scavenge_nr_threads))
		return;
	kr_deadlock_thread_comes();
	WRITE_ONCE(kr_scavenge_nr_threads, 1);
	/* Without it the heap keeps what it has. */
	if (kr_thread_create(kr_scavenge_main, (void *)&ops,
			     SPAWNER_STACK_BYTES, &thread))
		WRITE_ONCE(kr_scavenge_nr_threads, 0);
	kr_deadlock_thread_came();
}

/* When the next one is. */
static uint64_t trim_round(void)
{
	/* Set before it looks: a hint then counts or is seen. */
	WRITE_ONCE(spawner.trims, false);
	smp_mb();
	if (!trim())
		return UINT64_MAX;
	WRITE_ONCE(spawner.trims, true);
	return kr_clock_now_ns() + TRIM_PERIOD_NS;
}

static uint64_t min_ns(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t reap_round(void)
{
	return reap() ? kr_clock_now_ns() + kr_reap_ns : UINT64_MAX;
}

static void *spawner_main(void *arg)
{
	uint64_t next_trim_ns = UINT64_MAX, next_reap_ns = UINT64_MAX;
	uint64_t next_poke_ns = UINT64_MAX;

	(void)arg;
	while (!READ_ONCE(sched.main_done)) {
		uint32_t nr = kr_xchg(&spawner.wanted, 0);

		if (nr & WANT_TRIM)
			next_trim_ns = kr_clock_now_ns() + TRIM_PERIOD_NS;
		if (nr & WANT_REAP)
			next_reap_ns = kr_clock_now_ns() + kr_reap_ns;
		if (nr & WANT_POKE)
			next_poke_ns = kr_clock_now_ns() +
				       READ_ONCE(spawner.poke_delay_ns);
		if (!nr)
			kr_futex_wait(&spawner.wanted, 0,
				      min_ns(next_poke_ns,
					     min_ns(next_trim_ns,
						    next_reap_ns)));
		if (next_poke_ns <= kr_clock_now_ns()) {
			next_poke_ns = UINT64_MAX;
			sched.assist->service_poke();
		}
		if (next_trim_ns <= kr_clock_now_ns())
			next_trim_ns = trim_round();
		if (next_reap_ns <= kr_clock_now_ns())
			next_reap_ns = reap_round();
		if (nr & WANT_SCAVENGER)
			start_scavenger();
		if (READ_ONCE(spawner.all_back)) {
			WRITE_ONCE(spawner.all_back, false);
			/* What the first finds unused the second gives back. */
			trim();
			trim();
		}
		for (uint32_t n = nr & ~WANT_FLAGS; n && !m_spawn(); n--)
			;
		if (nr & WANT_LOOK)
			kr_follow_look();
		if ((nr & WANT_FINALIZE) && sched.finalize)
			sched.finalize(NULL);
		if ((nr & WANT_HELPERS) && sched.make_helpers) {
			kr_deadlock_thread_comes();
			sched.make_helpers();
			kr_deadlock_thread_came();
		}
	}
	return NULL;
}

static void want_ms(uint32_t nr)
{
	kr_and(&spawner.wanted, WANT_FLAGS);
	kr_or(&spawner.wanted, nr);
	kr_futex_wake(&spawner.wanted, 1);
}

void kr_spawner_reap(void)
{
	if (!kr_cas(&sched.reaping, 0, 1))
		return;
	kr_or(&spawner.wanted, WANT_REAP);
	kr_futex_wake(&spawner.wanted, 1);
}

void kr_spawner_poke_later(uint64_t delay_ns)
{
	WRITE_ONCE(spawner.poke_delay_ns, delay_ns);
	kr_or(&spawner.wanted, WANT_POKE);
	kr_futex_wake(&spawner.wanted, 1);
}

void kr_spawner_look(void)
{
	kr_or(&spawner.wanted, WANT_LOOK);
	kr_futex_wake(&spawner.wanted, 1);
}

void kr_spawner_helpers(void)
{
	kr_or(&spawner.wanted, WANT_HELPERS);
	kr_futex_wake(&spawner.wanted, 1);
}

void kr_spawner_finalize(void)
{
	kr_or(&spawner.wanted, WANT_FINALIZE);
	kr_futex_wake(&spawner.wanted, 1);
}

/*
 * Give @pp to the M of a preempted goroutine. Others met on the way go to the
 * end of the queue.
 */
bool kr_give_to_locked(struct p *pp, uint64_t owner)
{
	/* Every other one comes from a batch, and goes to the queue. */
	uint32_t nr = 2 * READ_ONCE(sched.hdr->nr_global);

	while (nr--) {
		struct g *gp = kr_globq_get(NULL);
		struct m *lockedm;

		if (!gp)
			break;
		lockedm = gp->lockedm;
		if (lockedm) {
			kr_offer(gp, pp, owner);
			if (!sched.assist->give(lockedm, pp, owner) ||
			    !kr_offer_retract(gp, pp, owner))
				return true;
		}
		kr_globq_put_again(gp);
		/* While it was out of the queue an M may have gone idle. */
		kr_wakep();
	}
	return false;
}

/* Goroutines in the queue of a P that is ours go where all can get at them. */
static void spill(struct p *pp)
{
	struct g *gp;
	bool inherit;

	while ((gp = kr_runq_get(pp, &inherit)))
		kr_globq_put(gp);
}

/*
 * Find an M for a P that is ours: in the pool or with a goroutine on it. The
 * latter goes straight on with its goroutine and does not look for work. If the
 * P had promised that, others have put work somewhere and woken nobody.
 */
static bool feed(struct p *pp)
{
	uint64_t owner = kr_owner(pp);
	bool given, was_last;

	if (!sched.assist->start(pp, owner))
		return true;
	was_last = kr_p_no_spinner(pp);
	spill(pp);
	given = kr_give_to_locked(pp, owner);
	if (!given)
		kr_pending_put(pp);
	if (was_last)
		kr_wakep();
	return given;
}

/* A P whose holder sleeps in the kernel. True: it is ours, the pool is empty. */
static bool take_sleeping(struct p *pp, uint64_t owner)
{
	uint64_t idle = KAUS_OWNER(KAUS_P_IDLE, 0, KAUS_OWNER_GEN(owner) + 1);
	int err = sched.assist->start(pp, owner);

	if (err && (err != -EAGAIN || !kr_cas(&pp->slot->owner, owner, idle)))
		return false;
	kr_count_handoff();
	if (err)
		kr_sleeping_clear(pp);
	return err;
}

static uint32_t feed_all(void)
{
	struct p *pp, *list;
	uint32_t nr_hungry = 0;

	kr_lock(&sched.lock);
	list = sched.pending_ps;
	WRITE_ONCE(sched.pending_ps, NULL);
	kr_unlock(&sched.lock);
	while (list) {
		pp = list;
		list = pp->link;
		nr_hungry += !feed(pp);
	}
	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		uint64_t owner;

		pp = sched.allp[i];
		owner = kr_owner(pp);
		if (KAUS_OWNER_STATE(owner) == KAUS_P_SLEEPING &&
		    kr_p_needs_m(pp) && take_sleeping(pp, owner))
			nr_hungry += !feed(pp);
	}
	return nr_hungry;
}

/*
 * The first Ms start here, before there is a goroutine: later they would have
 * to compete with it for the CPU, and nobody could take over from it until
 * then.
 */
int kr_service_start(void)
{
	uint32_t nr = kr_nr_procs() + SPARE_MS, started;
	int err;

	for (uint32_t i = 0; i < nr; i++) {
		err = m_spawn();
		if (err)
			return err;
	}
	while ((started = READ_ONCE(sched.nr_started)) < nr)
		kr_futex_wait(&sched.nr_started, started, UINT64_MAX);
	kr_pages_set_alarm(KR_SCAVENGE_MIN_PAGES, want_scavenger);
	return kr_thread_create(spawner_main, NULL, SPAWNER_STACK_BYTES,
				&spawner.thread);
}

/* True if some P still wants an M. */
static bool serve(void)
{
	uint32_t nr_hungry = feed_all();
	uint32_t nr = nr_hungry + kr_nr_procs() + SPARE_MS;
	uint32_t pooled = READ_ONCE(sched.nr_pooled);

	/*
	 * Whoever poked found the pool empty. An M that was given a P and has
	 * not run yet still counts as pooled: at most one for each P.
	 */
	if (nr > pooled)
		want_ms(nr - pooled);
	if (!kr_deadlock_pass_time() && nr <= pooled)
		kr_deadlock_check();
	return nr_hungry;
}

int kr_service_run(void)
{
	/* Acquire: main_status is there when main_done is. */
	while (!smp_load_acquire(&sched.main_done)) {
		uint64_t retry_ns = RETRY_MIN_NS;

		sched.assist->service_wait(sched.allm[0]);
		if (READ_ONCE(sched.hdr->wanted) && !kr_scavenge_wake())
			want_scavenger();
		/*
		 * An M that was on its way into the pool, or a goroutine on
		 * its way into the queue, may have looked for pending Ps
		 * before there was one: in a moment it will be there.
		 */
		while (serve() && !READ_ONCE(sched.main_done)) {
			kr_clock_sleep_ns(retry_ns);
			if (retry_ns < RETRY_MAX_NS)
				retry_ns *= 2;
		}
	}
	want_ms(0);
	return sched.main_status;
}

void kr_main_ended(int status)
{
	sched.main_status = status;
	WRITE_ONCE(sched.stopping, true);
	WRITE_ONCE(sched.detour, true);
	smp_store_release(&sched.main_done, 1);
	sched.assist->service_poke();
}
