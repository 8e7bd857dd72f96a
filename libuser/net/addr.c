/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Addresses of sockets from text.
 *
 * What is numeric is resolved without a file or a packet. Names go to
 * getaddrinfo(), which may sleep for seconds: it is called as any C code is,
 * outside of the runtime, and the P goes to others meanwhile.
 */
#include "net/addr.h"

#include <errno.h>
#include <kaus/net.h>
#include <stddef.h>
#include <string.h>

#define PORT_MAX_CHARS	32	/* names of services too */

static const struct {
	const char *name;
	int family;
	int type;
} nets[] = {
	{ "tcp", AF_UNSPEC, SOCK_STREAM },
	{ "tcp4", AF_INET, SOCK_STREAM },
	{ "tcp6", AF_INET6, SOCK_STREAM },
	{ "udp", AF_UNSPEC, SOCK_DGRAM },
	{ "udp4", AF_INET, SOCK_DGRAM },
	{ "udp6", AF_INET6, SOCK_DGRAM },
	{ "unix", AF_UNIX, SOCK_STREAM },
	{ "unixgram", AF_UNIX, SOCK_DGRAM },
};

static int resolve_unix(const char *path, int type, struct kr_addrs *addrs)
{
	size_t len = strlen(path);

	if (!len || len >= sizeof(addrs->un.sun_path))
		return -EINVAL;
	memset(&addrs->un, 0, sizeof(addrs->un));
	addrs->un.sun_family = AF_UNIX;
	memcpy(addrs->un.sun_path, path, len);
	/* An abstract name has no end but its length. */
	if (path[0] == '@')
		addrs->un.sun_path[0] = '\0';
	else
		len++;
	addrs->one.ai_family = AF_UNIX;
	addrs->one.ai_socktype = type;
	addrs->one.ai_addr = (struct sockaddr *)&addrs->un;
	addrs->one.ai_addrlen =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	addrs->first = &addrs->one;
	return 0;
}

/* "HOST:PORT" or "[HOST]:PORT". */
static int split(const char *addr, char host[NI_MAXHOST],
		 char port[PORT_MAX_CHARS])
{
	const char *colon = strrchr(addr, ':'), *end = colon;

	if (!colon || strlen(colon + 1) >= PORT_MAX_CHARS)
		return -EINVAL;
	strcpy(port, colon[1] ? colon + 1 : "0");
	if (*addr == '[') {
		addr++;
		end = colon - 1;
		if (end < addr || *end != ']')
			return -EINVAL;
	} else if (memchr(addr, ':', (size_t)(end - addr))) {
		return -EINVAL;
	}
	if (end - addr >= NI_MAXHOST)
		return -EINVAL;
	memcpy(host, addr, (size_t)(end - addr));
	host[end - addr] = '\0';
	return 0;
}

static int error_of(int gai)
{
	switch (gai) {
	case 0:
		return 0;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_AGAIN:
	case EAI_FAIL:
	case EAI_SYSTEM:
		return -EHOSTUNREACH;
	case EAI_SERVICE:
	case EAI_BADFLAGS:
	case EAI_FAMILY:
	case EAI_SOCKTYPE:
		return -EINVAL;
	default:
		return -EADDRNOTAVAIL;
	}
}

int kr_addrs_resolve(const char *net, const char *addr, enum kr_resolve how,
		     struct kr_addrs *ret_addrs)
{
	struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV |
			    (how == KR_RESOLVE_LISTEN ? AI_PASSIVE : 0),
	};
	char host[NI_MAXHOST], port[PORT_MAX_CHARS];
	size_t i = 0;
	int err;

	while (i < sizeof(nets) / sizeof(nets[0]) && strcmp(nets[i].name, net))
		i++;
	if (i == sizeof(nets) / sizeof(nets[0]))
		return -EINVAL;
	memset(ret_addrs, 0, sizeof(*ret_addrs));
	if (nets[i].family == AF_UNIX)
		return resolve_unix(addr, nets[i].type, ret_addrs);
	err = split(addr, host, port);
	if (err)
		return err;
	hints.ai_family = nets[i].family;
	hints.ai_socktype = nets[i].type;
	ret_addrs->is_tcp = nets[i].type == SOCK_STREAM;
	ret_addrs->is_any = !*host && nets[i].family == AF_UNSPEC;
	err = getaddrinfo(*host ? host : NULL, port, &hints, &ret_addrs->first);
	if (how != KR_RESOLVE_NUMERIC &&
	    (err == EAI_NONAME || err == EAI_SERVICE)) {
		hints.ai_flags &= ~(AI_NUMERICHOST | AI_NUMERICSERV);
		err = getaddrinfo(*host ? host : NULL, port, &hints,
				  &ret_addrs->first);
	}
	return error_of(err);
}

void kr_addrs_free(struct kr_addrs *addrs)
{
	if (addrs->first && addrs->first != &addrs->one)
		freeaddrinfo(addrs->first);
}
