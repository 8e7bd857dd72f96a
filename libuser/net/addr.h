/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* "tcp", "HOST:PORT" and the like to socket addresses. */
#ifndef KR_NET_ADDR_H
#define KR_NET_ADDR_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

struct kr_addrs {
	struct addrinfo *first;
	bool is_tcp;
	bool is_any;		/* no host and no family: IPv6 does for both */
	/* For "unix" first is one, else what getaddrinfo() made. */
	struct addrinfo one;
	struct sockaddr_un un;
};

enum kr_resolve {
	KR_RESOLVE_DIAL,
	KR_RESOLVE_LISTEN,
	KR_RESOLVE_NUMERIC,	/* to dial; a name is -EADDRNOTAVAIL */
};

/**
 * kr_addrs_resolve() - All addresses that are meant.
 * @net: "tcp" etc.
 * @addr: The address.
 * @how: What for.
 * @ret_addrs: To be freed with kr_addrs_free(). May not be moved.
 *
 * Sleeps in the kernel for names that are not numeric.
 *
 * Return: 0, -EINVAL, -EADDRNOTAVAIL, -EHOSTUNREACH, -ENOMEM.
 */
int kr_addrs_resolve(const char *net, const char *addr, enum kr_resolve how,
		     struct kr_addrs *ret_addrs);
void kr_addrs_free(struct kr_addrs *addrs);

/* lookup.c */
struct kr_lookup;

/**
 * kr_lookup_until() - The same, to dial, with a deadline.
 * @net: "tcp" etc.
 * @addr: The address.
 * @deadline_ns: Absolute CLOCK_MONOTONIC or KAUS_NO_DEADLINE.
 * @ret_lookup: To be put, in any case.
 *
 * Return: as kr_addrs_resolve(), or -ETIMEDOUT.
 */
int kr_lookup_until(const char *net, const char *addr, uint64_t deadline_ns,
		    struct kr_lookup **ret_lookup);
struct kr_addrs *kr_lookup_addrs(struct kr_lookup *lookup);
void kr_lookup_put(struct kr_lookup *lookup);

#endif /* KR_NET_ADDR_H */
