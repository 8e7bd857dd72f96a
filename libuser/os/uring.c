/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* io_uring: see uring.h. */
#include "os/uring.h"

#include <errno.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "os/os.h"

static struct io_uring ring;
static int poke_fd;
static uint64_t poked;

bool kr_uring_is_there(void)
{
	int saved_errno = errno;
	struct io_uring probe;
	int err = io_uring_queue_init(1, &probe, 0);

	if (!err)
		io_uring_queue_exit(&probe);
	errno = saved_errno;
	return !err;
}

/* A read of the eventfd is always on its way. */
static void await_poke(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	io_uring_prep_read(sqe, poke_fd, &poked, sizeof(poked), 0);
	io_uring_sqe_set_data(sqe, &poked);
}

/*
 * Results are delivered by the thread that has submitted, on its way out of the
 * kernel, and interrupt what it sleeps in. It sleeps in nothing else, so it is
 * the only one to know; older kernels cannot be told so.
 */
int kr_uring_open(void)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int saved_errno = errno;
	int err = -EINVAL;

	for (unsigned int i = 0; err == -EINVAL && i < 3; i++)
		err = io_uring_queue_init(2 * KR_URING_CALLS, &ring, flags[i]);
	if (!err) {
		poke_fd = eventfd(0, EFD_CLOEXEC);
		if (poke_fd < 0) {
			err = -errno;
			io_uring_queue_exit(&ring);
		} else {
			await_poke();
		}
	}
	errno = saved_errno;
	return err;
}

void kr_uring_queue(const struct kr_uring_call *call, void *data)
{
	/* Twice as many as calls and pokes: there always is one. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	switch (call->op) {
	case KR_URING_READ:
		io_uring_prep_read(sqe, call->fd, call->iov.iov_base,
				   (unsigned int)call->iov.iov_len,
				   call->offset);
		break;
	case KR_URING_WRITE:
		io_uring_prep_write(sqe, call->fd, call->iov.iov_base,
				    (unsigned int)call->iov.iov_len,
				    call->offset);
		break;
	case KR_URING_SYNC:
		io_uring_prep_fsync(sqe, call->fd, 0);
		break;
	}
	io_uring_sqe_set_data(sqe, data);
}

void kr_uring_enter(bool wait)
{
	int n = wait ? io_uring_submit_and_wait(&ring, 1) :
		       io_uring_submit_and_get_events(&ring);

	/* Short of memory for a moment: what is queued stays so. */
	if (n == -EAGAIN || n == -EBUSY)
		kr_clock_sleep_ns(1000000);
	else if (n < 0 && n != -EINTR)
		kr_throw("io_uring: cannot enter the ring");
}

void *kr_uring_take(int *ret_result)
{
	struct io_uring_cqe *cqe;
	void *data;

	while (!io_uring_peek_cqe(&ring, &cqe)) {
		data = io_uring_cqe_get_data(cqe);
		*ret_result = cqe->res;
		io_uring_cqe_seen(&ring, cqe);
		if (data != &poked)
			return data;
		await_poke();
	}
	return NULL;
}

void kr_uring_poke(void)
{
	int saved_errno = errno;
	ssize_t n = write(poke_fd, &(uint64_t){ 1 }, sizeof(uint64_t));

	/* It cannot fail: nobody writes so often that it overflows. */
	(void)n;
	errno = saved_errno;
}
