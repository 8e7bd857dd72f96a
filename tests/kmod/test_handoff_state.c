// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the shared words say while workers run, are preempted, migrate and
 * sleep, all at once: several Ps, more workers than Ps, a pool that is at
 * times empty, signals. A bug shows as a P with two holders at one time, as a
 * P that nobody holds and nobody can get, or as on_cpu that lies for good.
 */
#include "kw_test.h"

#include <sys/prctl.h>

FIXTURE(state) {
	struct kw k;
};

FIXTURE_SETUP(state)
{
	ASSERT_EQ(0, kw_group(&self->k, 4, 16));
}

FIXTURE_TEARDOWN(state)
{
	kw_close(&self->k);
}

struct sleeper {
	struct kw_thread t;
	int fd[2];
	unsigned int stop;
	unsigned int bad;
	unsigned int rounds;
};

static void pinned_sleeper(struct kw_thread *t)
{
	struct sleeper *s = t->arg;
	char byte;

	while (!KW_LOAD(s->stop)) {
		int cpu = KW_LOAD(s->rounds) % kw_nr_cpus();

		if (kw_pin(cpu) || KW_LOAD(kw_self.slot->on_cpu) != cpu + 1U)
			KW_ADD(s->bad, 1);
		if (read(s->fd[0], &byte, 1) != 1)
			return;
		KW_ADD(s->rounds, 1);
	}
}

TEST_F(state, on_cpu)
{
	struct sleeper s = { 0 };

	ASSERT_EQ(0, pipe(s.fd));
	ASSERT_EQ(0, kw_thread_start(&s.t, &self->k, 3, pinned_sleeper, &s));
	for (unsigned int i = 0; i < 50; i++) {
		ASSERT_TRUE(KW_WAIT(KW_LOAD(self->k.workers[3].on_cpu) == 0))
			TH_LOG("asleep, and on a CPU");
		ASSERT_EQ(1, write(s.fd[1], "x", 1));
		ASSERT_TRUE(KW_WAIT(KW_LOAD(s.rounds) == i + 1));
	}
	KW_STORE(s.stop, 1);
	ASSERT_EQ(1, write(s.fd[1], "x", 1));
	kw_thread_join(&s.t);
	EXPECT_EQ(0, s.bad) TH_LOG("runs, and not on its CPU");
	EXPECT_TRUE(KW_WAIT(KW_LOAD(self->k.workers[3].on_cpu) == 0));
}

/* Off the CPU is not asleep: a preempted worker keeps its P. */
TEST_F(state, preempted_worker_keeps_its_p)
{
	pid_t pid[2];
	uint64_t owner, ref = kw_sum(100000);
	uint64_t end_ns;

	ASSERT_EQ(0, kw_pin(0));
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				kw_sum(1000);
		}
	}
	ASSERT_EQ(0, kw_register(&self->k, 0));
	kw_carry(&self->k, 0);
	kw_waiters(&self->k, 0, 1);
	owner = kw_owner(&self->k, 0);
	end_ns = kw_now() + 400000000;
	while (kw_now() < end_ns) {
		ASSERT_EQ(ref, kw_sum(100000));
		ASSERT_EQ(owner, kw_owner(&self->k, 0));
	}
	EXPECT_EQ(0, kw_self.slot->nr_sleeps);
	EXPECT_EQ(0, kw_self.stat->nr_lost);
	EXPECT_EQ(0, kw_sleeping_bit(&self->k, 0));
	for (int i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	kw_unregister(&self->k);
}

/* A thread that moves from CPU to CPU while its slices run out. */
static void *mover(void *arg)
{
	struct sleeper *s = arg;
	cpu_set_t set;

	for (int i = 0; !KW_LOAD(s->stop); i++) {
		CPU_ZERO(&set);
		CPU_SET(i % kw_nr_cpus(), &set);
		sched_setaffinity(s->t.tid, sizeof(set), &set);
		KW_ADD(s->rounds, 1);
		kw_nap();
	}
	return NULL;
}

TEST_F(state, migrating_worker_is_preempted)
{
	struct sleeper s = { .t.tid = getpid() };
	uint64_t ref = kw_sum(20000), end_ns;
	pthread_t thread;

	if (kw_nr_cpus() < 2)
		SKIP(return, "one CPU");
	ASSERT_EQ(0, kw_register(&self->k, 0));
	kw_carry(&self->k, 0);
	kw_waiters(&self->k, 0, 1);
	ASSERT_EQ(0, pthread_create(&thread, NULL, mover, &s));
	end_ns = kw_now() + KW_PATIENCE_NS;
	while (KW_LOAD(s.rounds) < 300 && kw_now() < end_ns) {
		ASSERT_EQ(ref, kw_sum(20000));
	}
	EXPECT_LT(30, kw_self.stat->nr_preempt);
	KW_STORE(s.stop, 1);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, kw_self.stat->nr_empty);
	EXPECT_EQ(0, kw_self.stat->nr_foreign);
	kw_unregister(&self->k);
}

/*
 * The whole game: each P is a token that its holder marks with its own index.
 * A holder that finds another's mark shares the P with somebody.
 */
#define NR_PROCS	3
#define NR_PLAYERS	8

struct game {
	struct kw *k;
	struct kw_pool pool;
	uint32_t holder[NR_PROCS];
	uint64_t turns;
	uint64_t clashes;
	uint64_t lost;
};

/* Called with P @proc; ends when it was handed off, or after some sleeps. */
static void play(struct kw_thread *t, uint32_t proc)
{
	struct kw_pool *pool = t->arg;
	struct game *g = pool->arg;
	struct kw *k = t->kw;
	uint64_t word = kw_owner(k, proc);

	for (int i = 0; i < 3; i++) {
		struct timespec ts = { .tv_nsec = 20000 };
		uint64_t mine = kw_owner(k, proc);

		/* Ours, with defer up, as a runtime would hold it. */
		KW_STORE(kw_self.slot->defer, 1);
		if (mine != word || !kw_owner_is(k, proc, KAUS_P_RUNNING,
						 t->worker)) {
			KW_STORE(kw_self.slot->proc, KAUS_NONE);
			KW_STORE(kw_self.slot->defer, 0);
			KW_ADD(g->lost, 1);
			return;
		}
		if (__atomic_exchange_n(&g->holder[proc], t->worker + 1,
					__ATOMIC_ACQ_REL))
			KW_ADD(g->clashes, 1);
		kw_sum(2000);
		if (__atomic_exchange_n(&g->holder[proc], 0,
					__ATOMIC_ACQ_REL) != t->worker + 1)
			KW_ADD(g->clashes, 1);
		KW_ADD(g->turns, 1);
		kw_waiters(k, proc, 1);
		KW_STORE(kw_self.slot->defer, 0);
		if (i < 2)
			kw_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
	}
	/* To whoever comes first; main does that if nobody is parked. */
	KW_STORE(kw_self.slot->defer, 1);
	if (kw_owner(k, proc) == word) {
		KW_STORE(kw_self.slot->proc, KAUS_NONE);
		kw_owner_cas(k, proc, word,
			     KAUS_OWNER(KAUS_P_IDLE, 0,
					KAUS_OWNER_GEN(word) + 1));
	} else {
		KW_STORE(kw_self.slot->proc, KAUS_NONE);
	}
	KW_STORE(kw_self.slot->defer, 0);
}

static void nothing(int sig)
{
	(void)sig;
}

TEST_F(state, one_holder_at_a_time)
{
	struct kw_thread t[NR_PLAYERS] = { 0 };
	struct sigaction sa = { .sa_handler = nothing };
	struct game g = { .k = &self->k };
	uint64_t end_ns = kw_now() + KW_PATIENCE_NS;

	sigaction(SIGUSR1, &sa, NULL);
	g.pool = (struct kw_pool){ .given = play, .home = KAUS_NONE,
				   .arg = &g };
	ASSERT_EQ(0, kw_pool_start(&g.pool, &self->k, t, 0, NR_PLAYERS));
	for (unsigned int i = 0; KW_LOAD(g.turns) < 4000; i++) {
		uint64_t word = kw_owner(&self->k, i % NR_PROCS);

		ASSERT_GT(end_ns, kw_now())
			TH_LOG("stuck after %lu turns", (unsigned long)g.turns);
		if (KAUS_OWNER_STATE(word) == KAUS_P_IDLE)
			kw_wake(&self->k, KAUS_ANY, i % NR_PROCS, word);
		if (i % 7 == 0)
			pthread_kill(t[i % NR_PLAYERS].thread, SIGUSR1);
		if (i % 5 == 0)
			kw_kick(&self->k, i % NR_PLAYERS, NULL);
		if (i % 16 == 0)
			kw_nap();
	}
	EXPECT_EQ(0, g.clashes) TH_LOG("two holders");
	EXPECT_LT(0, g.lost) TH_LOG("nothing was ever handed off");
	for (int i = 0; i < NR_PROCS; i++)
		kw_waiters(&self->k, i, 0);
	kw_pool_stop(&g.pool, t, NR_PLAYERS);
}

KW_TEST_MAIN
