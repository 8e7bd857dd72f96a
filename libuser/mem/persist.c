/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Bump allocation out of large mappings (the idea of persistentalloc in Go's
 * runtime/malloc.go). Objects live in free lists of their own afterwards.
 */
#include "base/compiler.h"
#include "mem/persist.h"
#include "os/os.h"

#define CHUNK_BYTES	(256UL << 10)

static struct {
	uint32_t lock;
	char *pos;
	size_t left_bytes;
} persist;

void *kr_persist_alloc(size_t size)
{
	void *mem = NULL;

	size = (size + KR_CACHE_PAIR - 1) & ~(size_t)(KR_CACHE_PAIR - 1);
	if (size > CHUNK_BYTES / 4) {
		size = (size + KR_PAGE_SIZE - 1) & ~(KR_PAGE_SIZE - 1);
		return kr_vm_map(size, false, &mem) ? NULL : mem;
	}
	kr_lock(&persist.lock);
	if (persist.left_bytes < size &&
	    !kr_vm_map(CHUNK_BYTES, false, &mem)) {
		persist.pos = mem;
		persist.left_bytes = CHUNK_BYTES;
	}
	mem = NULL;
	if (persist.left_bytes >= size) {
		mem = persist.pos;
		persist.pos += size;
		persist.left_bytes -= size;
	}
	kr_unlock(&persist.lock);
	return mem;
}
