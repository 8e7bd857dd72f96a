/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Virtual memory. */
#include <errno.h>
#include <sys/mman.h>

#include "os/os.h"

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

int kr_vm_unmap(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = munmap(addr, size) ? -errno : 0;

	errno = saved_errno;
	return err;
}

int kr_vm_protect_none(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = mprotect(addr, size, PROT_NONE) ? -errno : 0;

	errno = saved_errno;
	return err;
}

void kr_vm_no_hugepage(void *addr, size_t size)
{
	int saved_errno = errno;

	/* Kernels without huge pages refuse: nothing to keep away then. */
	(void)madvise(addr, size, MADV_NOHUGEPAGE);
	errno = saved_errno;
}

int kr_vm_dont_fork(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = madvise(addr, size, MADV_DONTFORK) ? -errno : 0;

	errno = saved_errno;
	return err;
}
