/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Virtual memory. */
#include <errno.h>
#include <sys/mman.h>

#include "os/os.h"

#define GUARD_INSTALL	102	/* MADV_GUARD_INSTALL, Linux 6.13 */

int kr_vm_map(size_t size, bool shared, void **ret_addr)
{
	int flags = MAP_ANONYMOUS | (shared ? MAP_SHARED :
				     MAP_PRIVATE | MAP_NORESERVE);
	int saved_errno = errno;
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (addr == MAP_FAILED) {
		int err = -errno;

		errno = saved_errno;
		return err;
	}
	*ret_addr = addr;
	return 0;
}

/*
 * ThreadSanitizer does not see mremap(): what the next one maps at the old address
 * would be to it what was there.
 */
static int grow_seen(size_t old_size, size_t size, void **addr)
{
	void *moved = NULL;
	int err = kr_vm_map(size, false, &moved);

	if (err)
		return err;
	__builtin_memcpy(moved, *addr, old_size);
	kr_vm_unmap(*addr, old_size);
	*addr = moved;
	return 0;
}

int kr_vm_grow(size_t old_size, size_t size, void **addr)
{
	int saved_errno = errno;
	void *moved;

	if (!old_size)
		return kr_vm_map(size, false, addr);
	if (KR_TSAN)
		return grow_seen(old_size, size, addr);
	moved = mremap(*addr, old_size, size, MREMAP_MAYMOVE);
	if (moved == MAP_FAILED) {
		int err = -errno;

		errno = saved_errno;
		return err;
	}
	*addr = moved;
	return 0;
}

int kr_vm_unmap(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = munmap(addr, size) ? -errno : 0;

	errno = saved_errno;
	return err;
}

int kr_vm_guard(void *addr, size_t size, bool may_split, bool *ret_cheap)
{
	static bool without;	/* the kernel has no MADV_GUARD_INSTALL */
	int saved_errno = errno;
	int err = 0;

	*ret_cheap = false;
	if (!__atomic_load_n(&without, __ATOMIC_RELAXED)) {
		if (!madvise(addr, size, GUARD_INSTALL)) {
			*ret_cheap = true;
			return 0;
		}
		__atomic_store_n(&without, errno == EINVAL, __ATOMIC_RELAXED);
	}
	if (!may_split)
		err = -ENOMEM;
	else if (mprotect(addr, size, PROT_NONE))
		err = -errno;
	errno = saved_errno;
	return err;
}

void kr_vm_discard(void *addr, size_t size)
{
	int saved_errno = errno;

	/* Refused for locked memory, which then stays. */
	(void)madvise(addr, size, MADV_DONTNEED);
	errno = saved_errno;
}

int kr_vm_hugepage(void *addr, size_t size, bool on)
{
	int saved_errno = errno;
	int err;

	err = madvise(addr, size, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (err)
		err = -errno;
	errno = saved_errno;
	return err;
}

int kr_vm_dont_fork(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = madvise(addr, size, MADV_DONTFORK) ? -errno : 0;

	errno = saved_errno;
	return err;
}
