// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets, pipes and files of goroutines: what arrives is what was sent, calls
 * wait for as long as they have to and no longer, and end when the descriptor
 * is closed or its deadline comes.
 *
 * If it is broken: bytes are lost or mixed, an accept hangs after the first
 * connection, a reader sleeps through the end of the file, a call returns
 * -EAGAIN, a closed handle reaches somebody else's file.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/un.h>

#include "utest.h"

#define BIG (4U << 20)		/* more than a socket buffers */

/* An emulated CPU needs more than a slice for each system call. */
#define NR_CONNS (getenv("KAUS_VM") ? 100 : 1000)

/* "127.0.0.1:PORT" of a socket. */
static void address_of(kaus_fd_t fd, char text[64])
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	CHECK_EQ(0, getsockname(kaus_fd_num(fd), (struct sockaddr *)&in, &len));
	snprintf(text, 64, "127.0.0.1:%d", ntohs(in.sin_port));
}

static kaus_fd_t listen_tcp(char text[64])
{
	kaus_fd_t fd = kaus_net_listen("tcp4", "127.0.0.1:0");

	CHECK(fd > 0);
	address_of(fd, text);
	return fd;
}

/* A TCP connection to oneself: both ends. */
static void tcp_pair(kaus_fd_t ends[2])
{
	char text[64];
	kaus_fd_t listener = listen_tcp(text);

	ends[0] = kaus_net_dial("tcp", text);
	CHECK(ends[0] > 0);
	ends[1] = kaus_net_accept(listener, NULL, NULL);
	CHECK(ends[1] > 0);
	CHECK_EQ(0, kaus_fd_close(listener));
}

static void close_pair(kaus_fd_t ends[2])
{
	CHECK_EQ(0, kaus_fd_close(ends[0]));
	CHECK_EQ(0, kaus_fd_close(ends[1]));
}

static uint64_t soon(void)
{
	return kaus_now_ns() + 20 * MSEC;
}

static unsigned char pattern(size_t i)
{
	return (unsigned char)(i * 31 + (i >> 8));
}

/* ---- many connections ---- */

static struct kaus_waitgroup conns;
static atomic_int echoed;

static void echo(void *arg)
{
	kaus_fd_t fd = (kaus_fd_t)(intptr_t)arg;
	char buf[256];
	ssize_t n;

	while ((n = kaus_fd_read(fd, buf, sizeof(buf))) > 0)
		CHECK_EQ(0, kaus_fd_write_all(fd, buf, (size_t)n, NULL));
	CHECK_EQ(0, n);
	CHECK_EQ(0, kaus_fd_close(fd));
	kaus_waitgroup_done(&conns);
}

static void acceptor(void *arg)
{
	kaus_fd_t listener = *(kaus_fd_t *)arg, fd;

	while ((fd = kaus_net_accept(listener, NULL, NULL)) > 0) {
		kaus_waitgroup_add(&conns, 1);
		ut_go(echo, (void *)(intptr_t)fd);
	}
	CHECK_EQ(-ECANCELED, fd);
	kaus_waitgroup_done(&conns);
}

static void client(void *arg)
{
	kaus_fd_t fd = kaus_net_dial("tcp", arg);
	uint64_t out, in;

	CHECK(fd > 0);
	for (int i = 0; i < 5; i++) {
		out = kaus_goid() << 8 | (uint64_t)i;
		CHECK_EQ(0, kaus_fd_write_all(fd, &out, sizeof(out), NULL));
		CHECK_EQ(sizeof(in), kaus_fd_read_full(fd, &in, sizeof(in)));
		CHECK_EQ(out, in);
		if (in == out)
			atomic_fetch_add(&echoed, 1);
	}
	CHECK_EQ(0, kaus_fd_close(fd));
	kaus_waitgroup_done(&conns);
}

static int many(void *arg)
{
	int nr_conns = *(int *)arg;
	kaus_fd_t listener;
	char text[64];

	listener = listen_tcp(text);
	/* Two acceptors on one socket: neither may be forgotten. */
	kaus_waitgroup_add(&conns, 2 + nr_conns);
	ut_go(acceptor, &listener);
	ut_go(acceptor, &listener);
	for (int i = 0; i < nr_conns; i++)
		ut_go(client, text);
	while (atomic_load(&echoed) < 5 * nr_conns)
		kaus_sleep(1 * MSEC);
	CHECK_EQ(0, kaus_fd_close(listener));
	CHECK_EQ(0, kaus_waitgroup_wait(&conns));
	return 0;
}

TEST(many_connections_are_served)
{
	struct rlimit files = { 4096, 4096 };
	int nr_conns = NR_CONNS;

	if (setrlimit(RLIMIT_NOFILE, &files))
		SKIP(return, "needs 2100 open files");
	RUN(many, &nr_conns);
	EXPECT_EQ(5 * nr_conns, atomic_load(&echoed));
}

/* ---- streams ---- */

static void *send_big(void *arg)
{
	kaus_fd_t fd = *(kaus_fd_t *)arg;
	unsigned char *buf = malloc(BIG);
	size_t done = 0;

	for (size_t i = 0; i < BIG; i++)
		buf[i] = pattern(i);
	CHECK_EQ(0, kaus_fd_write_all(fd, buf, BIG, &done));
	CHECK_EQ(BIG, done);
	free(buf);
	CHECK_EQ(0, kaus_net_shutdown(fd, SHUT_WR));
	return NULL;
}

static void receive_big(kaus_fd_t fd)
{
	static unsigned char buf[30000];
	size_t at = 0, bad = 0;
	ssize_t n;

	while ((n = kaus_fd_read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			bad += buf[i] != pattern(at++);
	CHECK_EQ(0, n);
	CHECK_EQ(BIG, at);
	CHECK_EQ(0, bad);
}

static int big(void *arg)
{
	kaus_fd_t ends[2];
	struct kaus_g *g;
	char c;

	tcp_pair(ends);
	g = ut_spawn(send_big, &ends[0]);
	receive_big(ends[1]);
	CHECK_EQ(0, kaus_join(g, NULL));
	/* Half-closed: the other direction still works. */
	CHECK_EQ(1, kaus_fd_write(ends[1], "x", 1));
	CHECK_EQ(1, kaus_fd_read(ends[0], &c, 1));
	CHECK_EQ('x', c);
	CHECK_EQ(0, kaus_fd_read(ends[1], &c, 1));
	close_pair(ends);
	return 0;
}

TEST(big_writes_and_half_close)
{
	RUN(big, NULL);
}

static int vectors(void *arg)
{
	char a[3], b[5];
	struct iovec out[2] = { { "abc", 3 }, { "defgh", 5 } };
	struct iovec in[2] = { { a, 3 }, { b, 5 } };
	kaus_fd_t ends[2];

	tcp_pair(ends);
	CHECK_EQ(8, kaus_fd_writev(ends[0], out, 2));
	CHECK_EQ(8, kaus_fd_readv(ends[1], in, 2));
	CHECK(!memcmp(a, "abc", 3) && !memcmp(b, "defgh", 5));
	CHECK_EQ(-EINVAL, kaus_fd_writev(ends[0], out, -1));
	close_pair(ends);
	return 0;
}

TEST(vectors_keep_their_order)
{
	RUN(vectors, NULL);
}

static int send_a_file(void *arg)
{
	char name[] = "/tmp/test_net.XXXXXX", buf[64];
	int file = mkstemp(name);
	int64_t offset = 2;
	kaus_fd_t ends[2], fd;

	if (!CHECK(file >= 0))
		return 0;
	unlink(name);
	/* Writing to and reading from a regular file just works, too. */
	fd = kaus_fd_open(dup(file));
	CHECK(fd > 0);
	CHECK_EQ(0, kaus_fd_write_all(fd, "0123456789", 10, NULL));
	CHECK_EQ(0, kaus_fd_read(fd, buf, sizeof(buf)));
	CHECK_EQ(8, lseek(file, 8, SEEK_SET));
	CHECK_EQ(2, kaus_fd_read(fd, buf, sizeof(buf)));
	CHECK_EQ(0, kaus_fd_wait(fd, KAUS_FD_READ));
	CHECK_EQ(0, kaus_fd_close(fd));

	tcp_pair(ends);
	CHECK_EQ(8, kaus_fd_sendfile(ends[0], file, &offset, 100));
	CHECK_EQ(10, offset);
	CHECK_EQ(0, kaus_fd_sendfile(ends[0], file, &offset, 100));
	CHECK_EQ(8, kaus_fd_read(ends[1], buf, sizeof(buf)));
	CHECK(!memcmp(buf, "23456789", 8));
	close_pair(ends);
	close(file);
	return 0;
}

TEST(files_and_sendfile)
{
	RUN(send_a_file, NULL);
}

static void *write_later(void *arg)
{
	kaus_sleep(5 * MSEC);
	CHECK_EQ(3, kaus_fd_write(*(kaus_fd_t *)arg, "abc", 3));
	return NULL;
}

static int pipes(void *arg)
{
	kaus_fd_t ends[2];
	struct kaus_g *g;
	char buf[8];

	CHECK_EQ(0, kaus_fd_pipe(ends));
	g = ut_spawn(write_later, &ends[1]);
	CHECK_EQ(0, kaus_fd_wait(ends[0], KAUS_FD_READ));
	CHECK_EQ(3, kaus_fd_read(ends[0], buf, sizeof(buf)));
	CHECK_EQ(0, kaus_join(g, NULL));
	CHECK_EQ(0, kaus_fd_wait(ends[1], KAUS_FD_WRITE));
	CHECK_EQ(0, kaus_fd_close(ends[1]));
	CHECK_EQ(0, kaus_fd_read(ends[0], buf, sizeof(buf)));
	CHECK_EQ(0, kaus_fd_close(ends[0]));
	return 0;
}

TEST(pipes_and_their_end)
{
	RUN(pipes, NULL);
}

/*
 * What comes before a read that does not fill its buffer: a read that waits for
 * more right away must not miss the end, or what lies behind urgent data.
 */
static int short_reads(void *arg)
{
	char buf[16], rest[16];
	kaus_fd_t ends[2];
	ssize_t n;
	int i;

	for (i = 0; i < 20; i++) {
		/* An event each, and all at once if the reader comes late. */
		tcp_pair(ends);
		CHECK_EQ(0, kaus_fd_write_all(ends[1], "abc", 3, NULL));
		if (i & 1)
			CHECK_EQ(3, kaus_fd_read(ends[0], buf, sizeof(buf)));
		if (i & 2)
			kaus_sleep(MSEC);
		CHECK_EQ(0, kaus_fd_write_all(ends[1], "de", 2, NULL));
		CHECK_EQ(0, kaus_fd_close(ends[1]));
		if (i & 4)
			kaus_sleep(MSEC);
		for (n = 0; kaus_fd_read(ends[0], buf, sizeof(buf)) > 0;)
			n++;
		CHECK(n > 0);
		CHECK_EQ(0, kaus_fd_close(ends[0]));
	}
	for (i = 0; i < 4; i++) {
		int peer;

		tcp_pair(ends);
		peer = kaus_fd_num(ends[1]);
		CHECK_EQ(2, send(peer, "ab", 2, 0));
		CHECK_EQ(1, send(peer, "!", 1, MSG_OOB));
		CHECK_EQ(2, send(peer, "cd", 2, 0));
		if (i & 1)
			kaus_sleep(MSEC);
		for (n = 0; n < 4;) {
			ssize_t nr = kaus_fd_read(ends[0], buf, sizeof(buf));

			CHECK(nr > 0 && n + nr <= 4);
			memcpy(rest + n, buf, (size_t)nr);
			n += nr;
		}
		CHECK(!memcmp(rest, "abcd", 4));
		close_pair(ends);
	}
	return 0;
}

TEST(short_reads_miss_nothing)
{
	RUN(short_reads, NULL);
}

TEST(short_reads_miss_nothing_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, short_reads, NULL);
}

static int broken(void *arg)
{
	kaus_fd_t ends[2];
	int err = 0;

	tcp_pair(ends);
	CHECK_EQ(0, kaus_fd_close(ends[1]));
	/* The reset takes its way; the process must not die of SIGPIPE. */
	while (!err)
		err = kaus_fd_write_all(ends[0], "x", 1, NULL);
	CHECK(err == -EPIPE || err == -ECONNRESET);
	CHECK_EQ(0, kaus_fd_close(ends[0]));
	return 0;
}

TEST(broken_connections_raise_no_signal)
{
	RUN(broken, NULL);
}

/* ---- datagrams, Unix sockets ---- */

static int udp(void *arg)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	kaus_fd_t server = kaus_net_listen("udp4", "127.0.0.1:0"), fd;
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	char text[64], buf[16];

	address_of(server, text);
	fd = kaus_net_dial("udp", text);
	CHECK(fd > 0);
	CHECK_EQ(-EAGAIN, kaus_net_recvfrom(server, buf, sizeof(buf),
					    MSG_DONTWAIT, NULL, NULL));
	CHECK_EQ(4, kaus_net_sendto(fd, "ping", 4, 0, NULL, 0));
	CHECK_EQ(4, kaus_net_recvfrom(server, buf, sizeof(buf), 0,
				      (struct sockaddr *)&from, &len));
	CHECK_EQ(sizeof(from), len);
	CHECK(!memcmp(buf, "ping", 4));
	/* An empty one is one, too. */
	CHECK_EQ(0, kaus_net_sendto(server, NULL, 0, 0,
				    (struct sockaddr *)&from, len));
	iov = (struct iovec){ buf, sizeof(buf) };
	CHECK_EQ(0, kaus_net_recvmsg(fd, &msg, 0));
	iov = (struct iovec){ "pong", 4 };
	CHECK_EQ(4, kaus_net_sendmsg(fd, &msg, 0));
	CHECK_EQ(4, kaus_fd_read(server, buf, sizeof(buf)));
	CHECK(!memcmp(buf, "pong", 4));
	CHECK_EQ(0, kaus_fd_close(server));
	CHECK_EQ(0, kaus_fd_close(fd));
	return 0;
}

TEST(datagrams)
{
	RUN(udp, NULL);
}

static int unix_sockets(void *arg)
{
	kaus_fd_t listener, ends[2];
	char name[64], buf[8];

	snprintf(name, sizeof(name), "@test_net.%d", getpid());
	listener = kaus_net_listen("unix", name);
	CHECK(listener > 0);
	ends[0] = kaus_net_dial("unix", name);
	CHECK(ends[0] > 0);
	ends[1] = kaus_net_accept(listener, NULL, NULL);
	CHECK(ends[1] > 0);
	CHECK_EQ(2, kaus_fd_write(ends[1], "hi", 2));
	CHECK_EQ(2, kaus_fd_read(ends[0], buf, sizeof(buf)));
	close_pair(ends);
	CHECK_EQ(0, kaus_fd_close(listener));
	CHECK_EQ(-ECONNREFUSED, kaus_net_dial("unix", name));
	CHECK_EQ(-ENOENT, kaus_net_dial("unix", "/nonexistent/socket"));
	return 0;
}

TEST(unix_domain)
{
	RUN(unix_sockets, NULL);
}

/* ---- addresses ---- */

static int addresses(void *arg)
{
	kaus_fd_t listener, fd, peer;
	char text[64];

	CHECK_EQ(-EINVAL, kaus_net_dial("tpc", "127.0.0.1:1"));
	CHECK_EQ(-EINVAL, kaus_net_dial("tcp", "127.0.0.1"));
	CHECK_EQ(-EINVAL, kaus_net_dial("tcp", "::1:80"));
	CHECK_EQ(-EINVAL, kaus_net_dial("tcp", "[::1:80"));
	CHECK_EQ(-EINVAL, kaus_net_dial("unix", ""));
	CHECK_EQ(-EINVAL, kaus_net_listen("tcp", "127.0.0.1:no-such-service"));
	CHECK(kaus_net_dial("tcp4", "[::1]:80") < 0);
	/* Nobody listens on what was free a moment ago. */
	listener = listen_tcp(text);
	CHECK_EQ(0, kaus_fd_close(listener));
	CHECK_EQ(-ECONNREFUSED, kaus_net_dial("tcp", text));

	/* Without a host: every address of ours; a name: /etc/hosts. */
	listener = kaus_net_listen("tcp", ":0");
	CHECK(listener > 0);
	address_of(listener, text);
	fd = kaus_net_dial("tcp", text);
	CHECK(fd > 0);
	peer = kaus_net_accept(listener, NULL, NULL);
	CHECK(peer > 0);
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(0, kaus_fd_close(peer));
	memcpy(text, "localhost", 9);
	fd = kaus_net_dial("tcp", text);
	CHECK(fd > 0);
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(0, kaus_fd_close(listener));
	return 0;
}

TEST(addresses_are_understood)
{
	RUN(addresses, NULL);
}

/* ---- deadlines ---- */

static int deadlines(void *arg)
{
	char text[64], *buf = calloc(1, BIG);
	kaus_fd_t listener = listen_tcp(text), ends[2];
	uint64_t due = soon();
	size_t done;

	CHECK_EQ(0, kaus_fd_set_deadline(listener, KAUS_FD_READ, due));
	CHECK_EQ(-ETIMEDOUT, kaus_net_accept(listener, NULL, NULL));
	CHECK(kaus_now_ns() >= due);
	CHECK_EQ(-ETIMEDOUT, kaus_net_accept(listener, NULL, NULL));
	CHECK_EQ(-EINVAL, kaus_fd_set_deadline(listener, 0, 0));
	CHECK_EQ(-EINVAL, kaus_fd_set_deadline(listener, 4, 0));
	/* What is there is taken although the deadline has passed. */
	ends[0] = kaus_net_dial("tcp", text);
	CHECK(ends[0] > 0);
	ends[1] = kaus_net_accept(listener, NULL, NULL);
	CHECK(ends[1] > 0);

	due = soon();
	CHECK_EQ(0, kaus_fd_set_deadline(ends[0], KAUS_FD_READ, due));
	CHECK_EQ(-ETIMEDOUT, kaus_fd_read(ends[0], buf, 1));
	CHECK(kaus_now_ns() >= due);
	/* The other direction has its own. */
	CHECK_EQ(1, kaus_fd_write(ends[0], "x", 1));
	CHECK_EQ(1, kaus_fd_read(ends[1], buf, 1));
	due = soon();
	CHECK_EQ(0, kaus_fd_set_deadline(ends[0], KAUS_FD_WRITE, due));
	CHECK_EQ(-ETIMEDOUT, kaus_fd_write_all(ends[0], buf, BIG, &done) ?:
		 kaus_fd_write_all(ends[0], buf, BIG, NULL) ?:
		 kaus_fd_write_all(ends[0], buf, BIG, NULL));
	CHECK(kaus_now_ns() >= due);
	CHECK(done > 0);
	/* None again. */
	CHECK_EQ(0, kaus_fd_set_deadline(ends[0], KAUS_FD_READ,
					 KAUS_NO_DEADLINE));
	CHECK_EQ(1, kaus_fd_write(ends[1], "y", 1));
	CHECK_EQ(1, kaus_fd_read(ends[0], buf, 1));
	close_pair(ends);
	CHECK_EQ(0, kaus_fd_close(listener));
	free(buf);
	return 0;
}

TEST(deadlines_end_calls)
{
	RUN(deadlines, NULL);
}

static void *read_late(void *arg)
{
	char c;

	return (void *)(intptr_t)kaus_fd_read(*(kaus_fd_t *)arg, &c, 1);
}

/* True unless the machine was so slow that the deadline passed before. */
static bool deadline_taken_away(kaus_fd_t ends[2], uint64_t after_ns)
{
	uint64_t deadline = kaus_now_ns() + after_ns;
	struct kaus_g *g;
	bool in_time;
	void *ret;

	CHECK_EQ(0, kaus_fd_set_deadline(ends[0], KAUS_FD_READ, deadline));
	g = ut_spawn(read_late, &ends[0]);
	kaus_sleep(2 * MSEC);
	CHECK_EQ(0, kaus_fd_set_deadline(ends[0], KAUS_FD_READ,
					 KAUS_NO_DEADLINE));
	in_time = kaus_now_ns() < deadline;
	kaus_sleep_until(deadline + 2 * MSEC);
	CHECK_EQ(1, kaus_fd_write(ends[1], "x", 1));
	CHECK_EQ(0, kaus_join(g, &ret));
	if (in_time) {
		CHECK_EQ(1, (intptr_t)ret);
		return true;
	}
	if ((intptr_t)ret != 1)
		CHECK_EQ(1, kaus_fd_read(ends[0], &(char){ 0 }, 1));
	return false;
}

static int moved_deadlines(void *arg)
{
	uint64_t after_ns = 5 * MSEC;
	kaus_fd_t ends[2];
	struct kaus_g *g;
	void *ret;

	/* One that comes while the call waits, and one that is taken away. */
	tcp_pair(ends);
	g = ut_spawn(read_late, &ends[0]);
	kaus_sleep(2 * MSEC);
	CHECK_EQ(0, kaus_fd_set_deadline(ends[0], KAUS_FD_READ, 0));
	CHECK_EQ(0, kaus_join(g, &ret));
	CHECK_EQ(-ETIMEDOUT, (intptr_t)ret);
	while (!deadline_taken_away(ends, after_ns))
		after_ns *= 2;
	close_pair(ends);
	return 0;
}

TEST(deadlines_move_under_those_who_wait)
{
	RUN(moved_deadlines, NULL);
}

/*
 * Nobody accepts, and the queue of the one who listens is full: further
 * connections wait for ever.
 */
static int connect_deadline(void *arg)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	kaus_fd_t fds[16];
	int nr = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
	uint64_t due;
	char text[64];

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_EQ(0, bind(fd, (struct sockaddr *)&in, len));
	CHECK_EQ(0, listen(fd, 0));
	CHECK_EQ(0, getsockname(fd, (struct sockaddr *)&in, &len));
	snprintf(text, sizeof(text), "127.0.0.1:%d", ntohs(in.sin_port));
	do {
		due = soon();
		fds[nr] = kaus_net_dial_until("tcp", text, due);
	} while (fds[nr] > 0 && ++nr < 16);
	if (CHECK(nr < 16)) {
		CHECK_EQ(-ETIMEDOUT, fds[nr]);
		CHECK(kaus_now_ns() >= due);
	}
	while (nr--)
		CHECK_EQ(0, kaus_fd_close(fds[nr]));
	close(fd);
	return 0;
}

TEST(dialing_has_a_deadline)
{
	RUN(connect_deadline, NULL);
}

/* ---- sockets step by step ---- */

/* Bind, listen and accept by hand; the port is free. */
static kaus_fd_t listen_by_hand(struct sockaddr_in *in)
{
	kaus_fd_t fd = kaus_net_socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(*in);
	int num = kaus_fd_num(fd);

	CHECK(fd > 0);
	CHECK(fcntl(num, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(num, F_GETFD) & FD_CLOEXEC);
	*in = (struct sockaddr_in){ .sin_family = AF_INET };
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_EQ(0, bind(num, (struct sockaddr *)in, len));
	CHECK_EQ(0, listen(num, 4));
	CHECK_EQ(0, getsockname(num, (struct sockaddr *)in, &len));
	return fd;
}

static int by_hand(void *arg)
{
	struct sockaddr_in in, peer;
	const struct sockaddr *to = (struct sockaddr *)&in;
	socklen_t len = sizeof(peer);
	kaus_fd_t listener = listen_by_hand(&in), fd, conn;
	char c = 0;

	fd = kaus_net_socket(AF_INET, SOCK_STREAM, 0);
	CHECK(fd > 0);
	CHECK_EQ(0, kaus_net_connect(fd, to, sizeof(in)));
	CHECK_EQ(-EISCONN, kaus_net_connect(fd, to, sizeof(in)));
	conn = kaus_net_accept(listener, (struct sockaddr *)&peer, &len);
	CHECK(conn > 0);
	CHECK_EQ(sizeof(peer), len);
	CHECK_EQ(AF_INET, peer.sin_family);
	CHECK_EQ(1, kaus_fd_write(fd, "x", 1));
	CHECK_EQ(1, kaus_fd_read(conn, &c, 1));
	CHECK_EQ('x', c);
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(0, kaus_fd_close(conn));
	CHECK_EQ(0, kaus_fd_close(listener));
	/* Nobody listens there any more. */
	fd = kaus_net_socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(-ECONNREFUSED, kaus_net_connect(fd, to, sizeof(in)));
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(-EBADF, kaus_net_connect(fd, to, sizeof(in)));
	return 0;
}

TEST(sockets_step_by_step)
{
	RUN(by_hand, NULL);
}

static int bad_sockets(void *arg)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	const struct sockaddr *to = (struct sockaddr *)&in;
	kaus_fd_t fd = kaus_net_socket(AF_INET, SOCK_STREAM, 0);
	char c;

	CHECK_EQ(-EAFNOSUPPORT, kaus_net_socket(-1, SOCK_STREAM, 0));
	CHECK_EQ(-EINVAL, kaus_net_socket(AF_INET, 15, 0));
	CHECK_EQ(-EPROTONOSUPPORT, kaus_net_socket(AF_INET, SOCK_STREAM,
						   IPPROTO_UDP));
	CHECK_EQ(-EINVAL, kaus_net_connect(fd, to, 1));
	CHECK_EQ(-ENOTCONN, kaus_fd_read(fd, &c, 1));
	CHECK_EQ(-ENOTCONN, kaus_net_shutdown(fd, SHUT_WR));
	CHECK_EQ(-EINVAL, kaus_net_accept(fd, NULL, NULL));
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(-EBADF, kaus_fd_close(fd));
	return 0;
}

TEST(sockets_that_cannot_be)
{
	RUN(bad_sockets, NULL);
}

/* The queue is full: a Unix socket says so, a TCP one waits for its deadline. */
static int full_queues(void *arg)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in;
	kaus_fd_t listener, fds[16];
	socklen_t len;
	uint64_t due = 0;
	int nr, err;

	snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "kaus-%d", getpid());
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			  strlen(un.sun_path + 1));
	listener = kaus_net_socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(0, bind(kaus_fd_num(listener), (struct sockaddr *)&un, len));
	CHECK_EQ(0, listen(kaus_fd_num(listener), 1));
	for (nr = 0, err = 0; !err && nr < 16; nr++) {
		fds[nr] = kaus_net_socket(AF_UNIX, SOCK_STREAM, 0);
		err = kaus_net_connect(fds[nr], (struct sockaddr *)&un, len);
	}
	CHECK_EQ(-EAGAIN, err);
	while (nr--)
		CHECK_EQ(0, kaus_fd_close(fds[nr]));
	CHECK_EQ(0, kaus_fd_close(listener));

	listener = listen_by_hand(&in);
	for (nr = 0, err = 0; !err && nr < 16; nr++) {
		fds[nr] = kaus_net_socket(AF_INET, SOCK_STREAM, 0);
		due = soon();
		CHECK_EQ(0, kaus_fd_set_deadline(fds[nr], KAUS_FD_WRITE, due));
		err = kaus_net_connect(fds[nr], (struct sockaddr *)&in,
				       sizeof(in));
	}
	CHECK_EQ(-ETIMEDOUT, err);
	CHECK(kaus_now_ns() >= due);
	while (nr--)
		CHECK_EQ(0, kaus_fd_close(fds[nr]));
	CHECK_EQ(0, kaus_fd_close(listener));
	return 0;
}

TEST(full_queues_say_so)
{
	RUN(full_queues, NULL);
}

/* No descriptor is left: who knocked meanwhile is let in later. */
static int no_descriptors(void *arg)
{
	kaus_fd_t listener, fds[2], client, conn;
	struct rlimit old, none;
	char text[64], c = 0;

	listener = listen_tcp(text);
	client = kaus_net_dial("tcp", text);
	CHECK(client > 0);
	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = 0;
	CHECK_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	CHECK_EQ(-EMFILE, kaus_net_accept(listener, NULL, NULL));
	CHECK_EQ(-EMFILE, kaus_net_accept(listener, NULL, NULL));
	CHECK_EQ(-EMFILE, kaus_net_socket(AF_INET, SOCK_STREAM, 0));
	CHECK_EQ(-EMFILE, kaus_net_dial("tcp", text));
	CHECK_EQ(-EMFILE, kaus_net_listen("tcp", "127.0.0.1:0"));
	CHECK_EQ(-EMFILE, kaus_fd_pipe(fds));
	CHECK_EQ(1, kaus_fd_write(client, "x", 1));
	CHECK_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	conn = kaus_net_accept(listener, NULL, NULL);
	CHECK(conn > 0);
	CHECK_EQ(1, kaus_fd_read(conn, &c, 1));
	CHECK_EQ('x', c);
	CHECK_EQ(0, kaus_fd_close(conn));
	CHECK_EQ(0, kaus_fd_close(client));
	CHECK_EQ(0, kaus_fd_close(listener));
	return 0;
}

TEST(without_descriptors_nothing_is_lost)
{
	RUN(no_descriptors, NULL);
}

/* ---- closing ---- */

static void *accept_late(void *arg)
{
	return (void *)(intptr_t)kaus_net_accept(*(kaus_fd_t *)arg, NULL, NULL);
}

static void *write_much(void *arg)
{
	static char buf[BIG];
	int err;

	do {
		err = kaus_fd_write_all(*(kaus_fd_t *)arg, buf, BIG, NULL);
	} while (!err);
	return (void *)(intptr_t)err;
}

static void close_under(kaus_fd_t fd, void *(*fn)(void *arg))
{
	struct kaus_g *g[3];
	int nr_canceled = 0;
	void *ret;

	for (int i = 0; i < 3; i++)
		g[i] = ut_spawn(fn, &fd);
	kaus_sleep(50 * MSEC);
	CHECK_EQ(0, kaus_fd_close(fd));
	/* One that had not even begun finds a handle that means nothing. */
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(0, kaus_join(g[i], &ret));
		CHECK((intptr_t)ret == -ECANCELED || (intptr_t)ret == -EBADF);
		nr_canceled += (intptr_t)ret == -ECANCELED;
	}
	CHECK(nr_canceled > 0);
	CHECK_EQ(-EBADF, kaus_fd_close(fd));
	CHECK_EQ(-EBADF, kaus_fd_num(fd));
	CHECK_EQ(-EBADF, kaus_fd_write(fd, "x", 1));
	CHECK_EQ(-EBADF, kaus_fd_set_deadline(fd, KAUS_FD_READ, 0));
	CHECK_EQ(-EBADF, kaus_net_shutdown(fd, SHUT_WR));
}

static int close_while_blocked(void *arg)
{
	kaus_fd_t ends[2];
	char text[64];

	close_under(listen_tcp(text), accept_late);
	tcp_pair(ends);
	close_under(ends[0], read_late);
	CHECK_EQ(0, kaus_fd_close(ends[1]));
	tcp_pair(ends);
	close_under(ends[0], write_much);
	CHECK_EQ(0, kaus_fd_close(ends[1]));
	return 0;
}

TEST(closing_ends_calls)
{
	RUN(close_while_blocked, NULL);
}

static int not_ours(void *arg)
{
	int fds[2];
	kaus_fd_t fd;

	CHECK_EQ(-EBADF, kaus_fd_close(0));
	CHECK_EQ(-EBADF, kaus_fd_close(-1));
	CHECK_EQ(-EBADF, kaus_fd_close(INT64_MAX));
	CHECK_EQ(-EBADF, kaus_fd_open(-1));
	CHECK_EQ(0, pipe(fds));
	fd = kaus_fd_open(fds[0]);
	CHECK(fd > 0);
	CHECK_EQ(fds[0], kaus_fd_num(fd));
	CHECK_EQ(-EEXIST, kaus_fd_open(fds[0]));
	CHECK(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	CHECK_EQ(-EINVAL, kaus_fd_wait(fd, 3));
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(-1, fcntl(fds[0], F_GETFL));
	close(fds[1]);
	return 0;
}

TEST(handles_of_nothing)
{
	RUN(not_ours, NULL);
}

TEST(without_a_runtime)
{
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	EXPECT_EQ(-EPERM, kaus_fd_open(fds[0]));
	EXPECT_EQ(-EPERM, kaus_net_listen("tcp", "127.0.0.1:0"));
	EXPECT_EQ(-EBADF, kaus_fd_read(1, fds, 1));
	/* It was not taken and not closed. */
	EXPECT_EQ(0, fcntl(fds[0], F_GETFL) & O_NONBLOCK);
}

TEST_HARNESS_MAIN
