// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C library has no memory: what the library asks it for fails with -ENOMEM
 * or a null pointer, changes nothing, and works once there is some again.
 *
 * If it is broken: a null pointer that is followed, half of an object that is
 * lost, an output that was written on failure.
 */
#include <arpa/inet.h>

#include "utest.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || UT_TSAN
#define HAS_OWN_MALLOC 1
#else
#define HAS_OWN_MALLOC 0
#endif
#define SKIP_IF_OWN_MALLOC() \
	do { \
		if (HAS_OWN_MALLOC) \
			SKIP(return, "the sanitizer has malloc() of its own"); \
	} while (0)

/* So many allocations succeed and then none does; LONG_MAX: all do. */
static atomic_long nr_left = LONG_MAX;

static inline bool has_memory(void)
{
	if (atomic_load(&nr_left) == LONG_MAX ||
	    atomic_fetch_sub(&nr_left, 1) > 0)
		return true;
	errno = ENOMEM;
	return false;
}

#if !HAS_OWN_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t nr, size_t size);
void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
	return has_memory() ? __libc_malloc(size) : NULL;
}

void *calloc(size_t nr, size_t size)
{
	return has_memory() ? __libc_calloc(nr, size) : NULL;
}

void *aligned_alloc(size_t align, size_t size)
{
	return has_memory() ? __libc_memalign(align, size) : NULL;
}
#endif

static void leave(long nr)
{
	atomic_store(&nr_left, nr);
}

#define WITH_LEFT(nr, call) ({ \
	leave(nr); \
	__auto_type ret_ = (call); \
	leave(LONG_MAX); \
	ret_; \
})

TEST(channels)
{
	struct kaus_chan *ch;

	SKIP_IF_OWN_MALLOC();
	EXPECT_EQ(NULL, WITH_LEFT(0, kaus_chan_make(8, 0)));
	EXPECT_EQ(NULL, WITH_LEFT(0, kaus_chan_make(8, 100)));
	ch = kaus_chan_make(8, 100);
	EXPECT_NE(NULL, ch);
	kaus_chan_free(ch);
}

static int contexts(void *arg)
{
	struct kaus_context *const none = (struct kaus_context *)&contexts;
	struct kaus_context *parent, *child = none;
	long nr;
	int err;

	CHECK_EQ(0, kaus_context_with_cancel(NULL, &parent));
	/* It takes more than one piece of memory: each may be the last. */
	for (nr = 0; nr < 10; nr++) {
		err = WITH_LEFT(nr, kaus_context_with_cancel(parent, &child));
		if (!err)
			break;
		CHECK_EQ(-ENOMEM, err);
		CHECK(child == none);
		CHECK_EQ(-ENOMEM, WITH_LEFT(nr, kaus_context_with_deadline(
			parent, kaus_now_ns() + SEC, &child)));
		CHECK(child == none);
	}
	CHECK(nr > 0 && nr < 10);
	/* Nothing is left of those that were not made. */
	CHECK_EQ(0, kaus_context_cancel(parent));
	CHECK_EQ(-ECANCELED, kaus_context_err(child));
	kaus_context_put(child);
	kaus_context_put(parent);
	return 0;
}

TEST(children_of_contexts)
{
	SKIP_IF_OWN_MALLOC();
	RUN(contexts, NULL);
}

static int locals(void *arg)
{
	uint32_t key;
	int value = 1;

	CHECK_EQ(0, kaus_local_create(NULL, &key));
	CHECK_EQ(-ENOMEM, WITH_LEFT(0, kaus_local_set(key, &value)));
	CHECK(kaus_local_get(key) == NULL);
	CHECK_EQ(0, kaus_local_set(key, &value));
	CHECK(kaus_local_get(key) == &value);
	/* The first value takes memory for all of them. */
	CHECK_EQ(0, WITH_LEFT(0, kaus_local_set(key, NULL)));
	CHECK(kaus_local_get(key) == NULL);
	return 0;
}

TEST(values_of_goroutines)
{
	SKIP_IF_OWN_MALLOC();
	RUN(locals, NULL);
}

static int dialing(void *arg)
{
	kaus_fd_t listener = kaus_net_listen("tcp4", "127.0.0.1:0"), fd;
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char text[32];
	long nr;

	CHECK(listener > 0);
	CHECK_EQ(0, getsockname(kaus_fd_num(listener),
				(struct sockaddr *)&addr, &len));
	snprintf(text, sizeof(text), "127.0.0.1:%d",
		 (int)ntohs(((struct sockaddr_in *)&addr)->sin_port));
	for (nr = 0; nr < 100; nr++) {
		fd = WITH_LEFT(nr, kaus_net_dial("tcp4", text));
		if (fd > 0)
			break;
		CHECK_EQ(-ENOMEM, fd);
	}
	CHECK(nr > 0 && nr < 100);
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(-ENOMEM, WITH_LEFT(0, kaus_net_listen("tcp4", "127.0.0.1:0")));
	CHECK_EQ(0, kaus_fd_close(listener));
	return 0;
}

TEST(connections)
{
	SKIP_IF_OWN_MALLOC();
	RUN(dialing, NULL);
}

/* What needs none of it goes on: goroutines, waiting, sleeping, locking. */
static void *send_and_return(void *arg)
{
	uint64_t value = 7;

	CHECK_EQ(0, kaus_sleep(MSEC));
	CHECK_EQ(0, kaus_chan_send(arg, &value));
	return arg;
}

static int the_rest(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(uint64_t), 0);
	struct kaus_mutex mu = KAUS_MUTEX_INIT;
	struct kaus_g *gs[100];
	uint64_t value;

	leave(0);
	for (size_t i = 0; i < ARRAY_SIZE(gs); i++)
		gs[i] = ut_spawn(send_and_return, ch);
	for (size_t i = 0; i < ARRAY_SIZE(gs); i++) {
		CHECK_EQ(0, kaus_chan_recv(ch, &value));
		CHECK_EQ(7, value);
	}
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	CHECK_EQ(-ETIMEDOUT, kaus_mutex_lock_until(&mu, kaus_now_ns() + MSEC));
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	for (size_t i = 0; i < ARRAY_SIZE(gs); i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	CHECK_EQ(0, kaus_set_procs(8));
	CHECK(kaus_alloc(100) != NULL);
	leave(LONG_MAX);
	kaus_chan_free(ch);
	return 0;
}

TEST(who_needs_none_goes_on)
{
	SKIP_IF_OWN_MALLOC();
	RUN(the_rest, NULL);
}

TEST_HARNESS_MAIN
