/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Looking up a name, with a deadline.
 *
 * getaddrinfo() knows no deadline and cannot be cancelled. So a goroutine calls
 * it, and whoever wants the result waits for that goroutine, not for ever. One
 * that nobody waits for any more ends when getaddrinfo() does, and whoever is
 * the last to need the result frees it. Without a deadline, and for what is
 * numeric, no goroutine is needed.
 */
#include <errno.h>
#include <kaus/go.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "sched/runq.h"

struct kr_lookup {
	struct kr_addrs addrs;
	uint32_t refs;
	/* lock */
	uint32_t lock;
	bool done;
	int err;
	struct kaus_waitlist waiters;
	/* Fixed. */
	const char *net, *addr;
	char text[];
};

static struct kr_lookup *alloc(const char *net, const char *addr)
{
	size_t net_len = strlen(net) + 1, addr_len = strlen(addr) + 1;
	struct kr_lookup *l = calloc(1, sizeof(*l) + net_len + addr_len);

	if (!l)
		return NULL;
	l->refs = 1;
	l->net = memcpy(l->text, net, net_len);
	l->addr = memcpy(l->text + net_len, addr, addr_len);
	return l;
}

struct kr_addrs *kr_lookup_addrs(struct kr_lookup *lookup)
{
	return &lookup->addrs;
}

void kr_lookup_put(struct kr_lookup *lookup)
{
	if (!lookup || kr_sub(&lookup->refs, 1))
		return;
	kr_addrs_free(&lookup->addrs);
	free(lookup);
}

/* The goroutine; it has a reference. */
static void look_up(void *arg)
{
	struct kr_lookup *l = arg;
	int err = kr_addrs_resolve(l->net, l->addr, KR_RESOLVE_DIAL, &l->addrs);
	struct kr_waiter *w;
	struct m *mp = kr_enter();

	kr_lock(&l->lock);
	l->err = err;
	l->done = true;
	w = kr_waitlist_claim(&l->waiters);
	kr_unlock(&l->lock);
	if (w)
		kr_wait_wake(mp, kr_waiter_done(w, 0));
	kr_exit_any(mp);
	kr_lookup_put(l);
}

static int wait_until(struct kr_lookup *l, uint64_t deadline_ns)
{
	struct kr_waiter w = { .elem = NULL };
	struct kr_wait wait;
	struct m *mp;
	int err;

	if (!kr_enter_wait(&mp))
		return -EPERM;
	kr_lock(&l->lock);
	if (l->done) {
		kr_unlock(&l->lock);
		kr_exit_any(mp);
		return l->err;
	}
	kr_wait_init(&wait, mp, deadline_ns);
	w.wait = &wait;
	kr_waitlist_put(&l->waiters, &w);
	mp = kr_wait_block(mp, &wait, &l->lock, deadline_ns, "lookup");
	err = wait.result;
	if (err)
		kr_waitlist_forget(&l->waiters, &l->lock, &w);
	kr_exit_any(mp);
	return err ? err : l->err;
}

int kr_lookup_until(const char *net, const char *addr, uint64_t deadline_ns,
		    struct kr_lookup **ret_lookup)
{
	struct kr_lookup *l = alloc(net, addr);
	int err;

	*ret_lookup = l;
	if (!l)
		return -ENOMEM;
	if (deadline_ns == KAUS_NO_DEADLINE)
		return kr_addrs_resolve(net, addr, KR_RESOLVE_DIAL, &l->addrs);
	err = kr_addrs_resolve(net, addr, KR_RESOLVE_NUMERIC, &l->addrs);
	if (err != -EADDRNOTAVAIL && err != -EINVAL)
		return err;
	kr_add(&l->refs, 1);
	err = kaus_go(look_up, l);
	if (err) {
		kr_lookup_put(l);
		return err;
	}
	return wait_until(l, deadline_ns);
}
