// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who polls: whatever the Ps do, and whoever waits, an event finds its waiter;
 * an idle process with open connections is never switched to; and an event of
 * a descriptor that was closed finds nobody.
 *
 * If it is broken: a goroutine sleeps for ever with data in its socket while
 * others compute, a plain thread is never woken, a timer is forgotten when the
 * network wakes its keeper, or a thread polls an idle process.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "utest.h"

#include "sched/netpoll.h"

#define NR_HANDOVERS 20
#define IDLE_S 3
#define NR_IDLE 50

/* Two connected sockets; [0] for goroutines, [1] as it comes from the kernel. */
struct link {
	kaus_fd_t fd;
	int peer;
};

static struct link link_make(void)
{
	struct link l = { .peer = -1 };
	int fds[2];

	CHECK_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	l.fd = kaus_fd_open(fds[0]);
	CHECK(l.fd > 0);
	l.peer = fds[1];
	return l;
}

static void link_close(struct link l)
{
	CHECK_EQ(0, kaus_fd_close(l.fd));
	close(l.peer);
}

/* What the outside world does: a thread of its own, in the kernel. */
static void *feeder(void *arg)
{
	const struct link *l = arg;
	char c;

	for (int i = 0; i < 20; i++) {
		poll(NULL, 0, 2);
		if (write(l->peer, "x", 1) != 1 || read(l->peer, &c, 1) != 1)
			break;
	}
	return NULL;
}

static void answer(struct link *l)
{
	char c;

	for (int i = 0; i < 20; i++) {
		CHECK_EQ(1, kaus_fd_read(l->fd, &c, 1));
		CHECK_EQ(1, kaus_fd_write(l->fd, &c, 1));
	}
}

static int feed(void *arg)
{
	struct link l = link_make();
	pthread_t thread;

	if (arg)
		((void (*)(void))arg)();
	pthread_create(&thread, NULL, feeder, &l);
	answer(&l);
	pthread_join(thread, NULL);
	link_close(l);
	return 0;
}

TEST(events_wake_an_idle_process)
{
	RUN(feed, NULL);
}

TEST(events_come_through_with_one_p)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, feed, NULL);
}

TEST(events_come_through_behind_hogs)
{
	UT_SKIP_TSAN(UT_WHY_TSAN);
	RUN(feed, ut_go_hogs);
}

static void yielder(void *arg)
{
	for (;;)
		kaus_yield();
}

/* Queues that never become empty. */
static void go_yielders(void)
{
	unsigned int nr = 3 * ut_nr_procs();

	while (nr--)
		ut_go(yielder, NULL);
}

TEST(events_come_through_behind_full_queues)
{
	RUN(feed, go_yielders);
}

static void *dial(void *arg)
{
	kaus_fd_t fd = kaus_net_dial("tcp", arg);
	char c;

	CHECK(fd > 0);
	CHECK_EQ(1, kaus_fd_read(fd, &c, 1));
	CHECK_EQ(0, kaus_fd_close(fd));
	return NULL;
}

static int dial_behind_hogs(void *arg)
{
	kaus_fd_t listener = kaus_net_listen("tcp4", "127.0.0.1:0"), fd;
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	struct kaus_g *g;
	char text[64];

	CHECK(listener > 0);
	CHECK_EQ(0, getsockname(kaus_fd_num(listener), (struct sockaddr *)&in,
				&len));
	snprintf(text, sizeof(text), "localhost:%d", ntohs(in.sin_port));
	ut_go_hogs();
	g = ut_spawn(dial, text);
	fd = kaus_net_accept(listener, NULL, NULL);
	CHECK(fd > 0);
	CHECK_EQ(1, kaus_fd_write(fd, "x", 1));
	CHECK_EQ(0, kaus_join(g, NULL));
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(0, kaus_fd_close(listener));
	return 0;
}

TEST(dialing_behind_hogs)
{
	UT_SKIP_TSAN(UT_WHY_TSAN);
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, dial_behind_hogs, NULL);
}

static int dial_behind_two_hogs(void *arg)
{
	ut_go_hogs();
	return dial_behind_hogs(arg);
}

/* Each step of the dial waits for its turn after both. */
TEST(dialing_behind_two_hogs_on_one_p)
{
	UT_SKIP_TSAN(UT_WHY_TSAN);
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, dial_behind_two_hogs, NULL);
}

/* ---- the M in epoll finds all Ps busy ---- */

static struct {
	struct link l;
	struct kaus_sem done;
	atomic_uint nr_heard;
	atomic_bool hog_runs, hog_stops;
	unsigned int nr_late;
} handover;

static void listen_on(void *arg)
{
	char c;

	while (kaus_fd_read(handover.l.fd, &c, 1) == 1)
		atomic_fetch_add(&handover.nr_heard, 1);
}

static void short_hog(void *arg)
{
	atomic_store(&handover.hog_runs, true);
	while (!atomic_load(&handover.hog_stops))
		;
	atomic_store(&handover.hog_runs, false);
}

static void say_something(void)
{
	unsigned int nr = atomic_load(&handover.nr_heard);

	CHECK_EQ(1, write(handover.l.peer, "x", 1));
	while (atomic_load(&handover.nr_heard) == nr)
		usleep(100);
}

/*
 * An M waits in epoll, the watch sleeps, the one P gets something to do: with
 * the event the M leaves epoll, and goes to the pool.
 */
static void *hand_over(void *arg)
{
	for (int i = 0; i < NR_HANDOVERS; i++) {
		uint32_t nr_pauses;

		/* The watch itself waits until it has seen an idle P. */
		while (!kr_netpoll_nr_ms()) {
			say_something();
			usleep(10000);
		}
		usleep(10000);
		nr_pauses = kr_netpoll_nr_pauses();
		atomic_store(&handover.hog_stops, false);
		CHECK_EQ(0, kaus_go(short_hog, NULL));
		while (!atomic_load(&handover.hog_runs))
			usleep(100);
		say_something();
		while (!kr_netpoll_is_claimed())
			usleep(100);
		handover.nr_late += kr_netpoll_nr_pauses() != nr_pauses;
		atomic_store(&handover.hog_stops, true);
		while (atomic_load(&handover.hog_runs))
			usleep(100);
	}
	CHECK_EQ(0, kaus_sem_release(&handover.done, 1));
	return NULL;
}

static int hand_over_to_the_watch(void *arg)
{
	pthread_t thread;

	handover.l = link_make();
	ut_go(listen_on, NULL);
	CHECK_EQ(0, pthread_create(&thread, NULL, hand_over, NULL));
	CHECK_EQ(0, kaus_sem_acquire(&handover.done, 1));
	pthread_join(thread, NULL);
	link_close(handover.l);
	printf("# of %d times the watch waited for its tick %u times\n",
	       NR_HANDOVERS, handover.nr_late);
	CHECK(handover.nr_late <= NR_HANDOVERS / 4);
	return 0;
}

/* The next event would wait for a tick of the watch, 1 ms to 4 ms. */
TEST(the_watch_polls_at_once_when_all_ps_are_busy)
{
	UT_SKIP_TSAN(UT_WHY_TSAN);
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, hand_over_to_the_watch, NULL);
}

/* ---- plain threads ---- */

static void *thread_answers(void *arg)
{
	struct link *l = arg;
	uint64_t due = kaus_now_ns() + 10 * MSEC;
	char c;

	answer(l);
	CHECK_EQ(0, kaus_fd_set_deadline(l->fd, KAUS_FD_READ, due));
	CHECK_EQ(-ETIMEDOUT, kaus_fd_read(l->fd, &c, 1));
	CHECK(kaus_now_ns() >= due);
	CHECK_EQ(0, kaus_fd_set_deadline(l->fd, KAUS_FD_READ,
					 KAUS_NO_DEADLINE));
	CHECK_EQ(-ECANCELED, kaus_fd_read(l->fd, &c, 1));
	return NULL;
}

static int plain_threads(void *arg)
{
	struct link l = link_make();
	pthread_t threads[2];

	pthread_create(&threads[0], NULL, thread_answers, &l);
	pthread_create(&threads[1], NULL, feeder, &l);
	pthread_join(threads[1], NULL);
	kaus_sleep(50 * MSEC);
	CHECK_EQ(0, kaus_fd_close(l.fd));
	pthread_join(threads[0], NULL);
	close(l.peer);
	return 0;
}

TEST(plain_threads_may_wait)
{
	RUN(plain_threads, NULL);
}

TEST(plain_threads_may_wait_behind_one_p)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, plain_threads, NULL);
}

/* ---- descriptors used again ---- */

static void *read_one(void *arg)
{
	char c;

	return (void *)(intptr_t)kaus_fd_read(*(kaus_fd_t *)arg, &c, 1);
}

static int reuse(void *arg)
{
	int num, again = 0;
	kaus_fd_t old;
	struct link l;

	/*
	 * Each round leaves events behind for a descriptor that is closed
	 * before anybody has looked, and whose number comes back at once,
	 * unless another thread of the runtime has opened a file meanwhile. The
	 * next reader must wait for its own byte, and the old handle is dead.
	 */
	l = link_make();
	for (int i = 0; i < 2000; i++) {
		struct kaus_g *g;
		void *ret;

		old = l.fd;
		num = kaus_fd_num(old);
		CHECK_EQ(1, write(l.peer, "o", 1));
		link_close(l);
		l = link_make();
		again += kaus_fd_num(l.fd) == num;
		CHECK(l.fd != old);
		CHECK_EQ(-EBADF, kaus_fd_set_deadline(old, KAUS_FD_READ, 0));
		CHECK_EQ(-EBADF, kaus_fd_close(old));
		g = ut_spawn(read_one, &l.fd);
		if (i % 2)
			kaus_yield();
		CHECK_EQ(1, write(l.peer, "n", 1));
		CHECK_EQ(0, kaus_join(g, &ret));
		CHECK_EQ(1, (intptr_t)ret);
	}
	CHECK(again > 1000);
	link_close(l);
	return 0;
}

TEST(numbers_come_back_and_old_events_do_not)
{
	RUN(reuse, NULL);
}

/* Closing races with those who use it: all see their byte or an error. */
static kaus_fd_t shared;
static atomic_int nr_users;

static void user(void *arg)
{
	kaus_fd_t fd = shared;
	ssize_t n;
	char c;

	do {
		n = kaus_fd_read(fd, &c, 1);
	} while (n == 1);
	CHECK(n == -ECANCELED || n == -EBADF);
	atomic_fetch_sub(&nr_users, 1);
}

static int race(void *arg)
{
	for (int i = 0; i < 500; i++) {
		struct link l = link_make();

		shared = l.fd;
		atomic_store(&nr_users, 8);
		for (int j = 0; j < 8; j++)
			ut_go(user, NULL);
		for (int j = 0; j < i % 5; j++)
			CHECK_EQ(1, write(l.peer, "x", 1));
		if (i % 3)
			kaus_yield();
		CHECK_EQ(0, kaus_fd_close(l.fd));
		while (atomic_load(&nr_users))
			kaus_yield();
		close(l.peer);
	}
	return 0;
}

TEST(closing_races_with_reading)
{
	RUN(race, NULL);
}

/* ---- time ---- */

static atomic_bool slept;

static void sleeper(void *arg)
{
	kaus_sleep(30 * MSEC);
	atomic_store(&slept, true);
}

/*
 * The M that waits for the network keeps time as well. It is woken, and
 * computes until the timer of another P has fired.
 */
static int keeps_time(void *arg)
{
	struct link l = link_make();
	char c;

	for (int i = 0; i < 5; i++) {
		pthread_t thread;

		atomic_store(&slept, false);
		ut_go(sleeper, NULL);
		pthread_create(&thread, NULL, feeder, &l);
		CHECK_EQ(1, kaus_fd_read(l.fd, &c, 1));
		while (!atomic_load(&slept))
			;
		shutdown(l.peer, SHUT_RDWR);
		pthread_join(thread, NULL);
		link_close(l);
		l = link_make();
	}
	link_close(l);
	return 0;
}

TEST(timers_fire_while_the_poller_computes)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, keeps_time, NULL);
}

/* ---- idle ---- */

/* Switches of all threads but the caller. */
static long other_switches(void)
{
	long self = syscall(SYS_gettid), nr, sum = 0;
	DIR *dir = opendir("/proc/self/task");
	struct dirent *ent;
	char path[300], line[128];
	FILE *f;

	while ((ent = readdir(dir))) {
		if (ent->d_name[0] == '.' || atol(ent->d_name) == self)
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/status",
			 ent->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		while (fgets(line, sizeof(line), f)) {
			char *at = strstr(line, "ctxt_switches:");

			if (at && sscanf(at, "ctxt_switches: %ld", &nr) == 1)
				sum += nr;
		}
		fclose(f);
	}
	closedir(dir);
	return sum;
}

static struct kaus_chan *done;
static long before, after;

static void *watch(void *arg)
{
	struct timespec settle = { .tv_sec = 1 }, idle = { .tv_sec = IDLE_S };

	nanosleep(&settle, NULL);
	before = other_switches();
	nanosleep(&idle, NULL);
	after = other_switches();
	kaus_chan_close(done);
	return NULL;
}

static void wait_for_ever(void *arg)
{
	char c;

	kaus_fd_read((kaus_fd_t)(intptr_t)arg, &c, 1);
}

static int idle(void *arg)
{
	pthread_t thread;

	done = kaus_chan_make(0, 0);
	for (int i = 0; i < NR_IDLE; i++) {
		struct link l = link_make();

		ut_go(wait_for_ever, (void *)(intptr_t)l.fd);
	}
	/* Some traffic first, that could leave a sloppy poller running. */
	feed(NULL);
	pthread_create(&thread, NULL, watch, NULL);
	CHECK_EQ(-EPIPE, kaus_chan_recv(done, NULL));
	pthread_join(thread, NULL);
	return 0;
}

TEST(idle_connections_cost_nothing)
{
	UT_SKIP_TSAN("ThreadSanitizer has a thread of its own that wakes");
	RUN(idle, NULL);
	EXPECT_LT(0, before);
	EXPECT_EQ(before, after);
}

/*
 * Two goroutines accept on one listener, and each keeps its connection until
 * the other one has one, too. A connection whose event one of them took for its
 * own would never be accepted.
 */
struct pair {
	kaus_fd_t listener;
	struct kaus_chan *met, *over;
};

#define PAIR_ROUNDS 300

static void accept_one_of_two(void *arg)
{
	struct pair *p = arg;

	for (int n = 0; n < PAIR_ROUNDS; n++) {
		kaus_fd_t fd = kaus_net_accept(p->listener, NULL, NULL);

		if (!CHECK(fd > 0))
			break;
		CHECK_EQ(0, kaus_chan_send(p->met, NULL));
		CHECK_EQ(0, kaus_chan_recv(p->over, NULL));
		CHECK_EQ(0, kaus_fd_close(fd));
	}
}

static int two_acceptors(void *arg)
{
	struct pair p = {
		.met = kaus_chan_make(0, 0),
		.over = kaus_chan_make(0, 0),
	};
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	p.listener = kaus_net_listen("tcp4", "127.0.0.1:0");
	CHECK(p.listener > 0);
	CHECK_EQ(0, getsockname(kaus_fd_num(p.listener), (struct sockaddr *)&in,
				&len));
	ut_go(accept_one_of_two, &p);
	ut_go(accept_one_of_two, &p);
	for (int n = 0; n < PAIR_ROUNDS; n++) {
		int fd[2];

		/* From the kernel's side, so close to each other. */
		for (int i = 0; i < 2; i++) {
			fd[i] = socket(AF_INET, SOCK_STREAM, 0);
			CHECK_EQ(0, connect(fd[i], (struct sockaddr *)&in, len));
		}
		for (int i = 0; i < 2; i++)
			CHECK_EQ(0, kaus_chan_recv(p.met, NULL));
		for (int i = 0; i < 2; i++)
			CHECK_EQ(0, kaus_chan_send(p.over, NULL));
		for (int i = 0; i < 2; i++)
			close(fd[i]);
	}
	CHECK_EQ(0, kaus_fd_close(p.listener));
	return 0;
}

TEST(two_may_wait_for_one_descriptor)
{
	RUN(two_acceptors, NULL);
}

TEST_HARNESS_MAIN
