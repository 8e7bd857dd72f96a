// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dialling by name, with a deadline: it holds for the lookup too, which is
 * abandoned and cleaned up when it ends; with a lookup that is in time the
 * connection is made; what is numeric is not looked up.
 *
 * If it is broken: a dead name server holds up whoever dials for half a
 * minute, or memory is lost or freed twice each time.
 *
 * The resolver here is the test's own: it answers when the test says so.
 */
#include <netdb.h>
#include <netinet/in.h>

#include "utest.h"

static int answer[2];
static atomic_int nr_lookups, nr_answers, nr_freed;

struct result {
	struct addrinfo ai;
	struct sockaddr_in in;
};

/* In place of the C library's. */
int getaddrinfo(const char *host, const char *port,
		const struct addrinfo *hints, struct addrinfo **ret)
{
	bool numeric = host && *host >= '0' && *host <= '9';
	struct result *r;
	char c;

	if (!numeric && hints->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	if (!numeric) {
		atomic_fetch_add(&nr_lookups, 1);
		while (read(answer[0], &c, 1) < 0 && errno == EINTR)
			;
		if (!strcmp(host, "nobody"))
			return EAI_NONAME;
	}
	r = calloc(1, sizeof(*r));
	r->in.sin_family = AF_INET;
	r->in.sin_port = htons((uint16_t)atoi(port));
	r->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r->ai.ai_family = AF_INET;
	r->ai.ai_socktype = hints->ai_socktype;
	r->ai.ai_addr = (struct sockaddr *)&r->in;
	r->ai.ai_addrlen = sizeof(r->in);
	*ret = &r->ai;
	atomic_fetch_add(&nr_answers, 1);
	return 0;
}

void freeaddrinfo(struct addrinfo *ai)
{
	atomic_fetch_add(&nr_freed, 1);
	free(ai);
}

static void let_answer(void)
{
	CHECK_EQ(1, write(answer[1], "x", 1));
}

__attribute__((constructor)) static void make_pipe(void)
{
	if (pipe(answer))
		abort();
}

static int in_vain(void *arg)
{
	CHECK_EQ(-ETIMEDOUT, kaus_net_dial_until("tcp", "somebody:80",
						 kaus_now_ns() + 20 * MSEC));
	CHECK_EQ(0, nr_answers);
	/* It has a goroutine of its own, which may not have begun yet. */
	let_answer();
	while (!nr_freed)
		kaus_sleep(MSEC);
	CHECK_EQ(1, nr_lookups);
	CHECK_EQ(1, nr_answers);
	CHECK_EQ(1, nr_freed);
	return 0;
}

TEST(the_deadline_passes_during_the_lookup)
{
	RUN(in_vain, NULL);
}

static int past(void *arg)
{
	CHECK_EQ(-ETIMEDOUT, kaus_net_dial_until("tcp", "somebody:80", 1));
	let_answer();
	while (!nr_freed)
		kaus_sleep(MSEC);
	return 0;
}

TEST(the_deadline_is_in_the_past)
{
	RUN(past, NULL);
}

static void *accept_one(void *arg)
{
	kaus_fd_t fd = kaus_net_accept(*(kaus_fd_t *)arg, NULL, NULL);

	CHECK(fd > 0);
	CHECK_EQ(0, kaus_fd_close(fd));
	return NULL;
}

static void dial_by(const char *host, uint64_t deadline_ns)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	kaus_fd_t listener, fd;
	struct kaus_g *g;
	char addr[64];

	listener = kaus_net_listen("tcp4", "127.0.0.1:0");
	if (!CHECK(listener > 0))
		return;
	CHECK_EQ(0, getsockname(kaus_fd_num(listener), (struct sockaddr *)&in,
				&len));
	snprintf(addr, sizeof(addr), "%s:%d", host, ntohs(in.sin_port));
	g = ut_spawn(accept_one, &listener);
	fd = kaus_net_dial_until("tcp", addr, deadline_ns);
	CHECK(fd > 0);
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(0, kaus_join(g, NULL));
	CHECK_EQ(0, kaus_fd_close(listener));
}

static int in_time(void *arg)
{
	let_answer();
	dial_by("somebody", kaus_now_ns() + 1000 * SEC);
	CHECK_EQ(1, nr_lookups);
	let_answer();
	dial_by("somebody", KAUS_NO_DEADLINE);
	CHECK_EQ(2, nr_lookups);
	dial_by("127.0.0.1", kaus_now_ns() + 1000 * SEC);
	CHECK_EQ(2, nr_lookups);
	/* The lookup's goroutine has its own reference until it ends. */
	while (nr_freed != nr_answers)
		kaus_sleep(MSEC);
	return 0;
}

TEST(a_name_is_found_in_time)
{
	RUN(in_time, NULL);
}

static int no_such(void *arg)
{
	let_answer();
	CHECK_EQ(-EADDRNOTAVAIL,
		 kaus_net_dial_until("tcp", "nobody:1",
				     kaus_now_ns() + 1000 * SEC));
	CHECK_EQ(-EINVAL, kaus_net_dial_until("tcp", "nobody",
					      kaus_now_ns() + 1000 * SEC));
	CHECK_EQ(-EINVAL, kaus_net_dial_until("ipx", "nobody:1",
					      kaus_now_ns() + 1000 * SEC));
	CHECK_EQ(1, nr_lookups);
	CHECK_EQ(0, nr_freed);
	return 0;
}

TEST(a_name_is_not_found)
{
	RUN(no_such, NULL);
}

TEST_HARNESS_MAIN
