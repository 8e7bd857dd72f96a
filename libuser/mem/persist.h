/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Memory that is never given back: Gs, Ms, Ps. */
#ifndef KR_MEM_PERSIST_H
#define KR_MEM_PERSIST_H

#include <stddef.h>

/**
 * kr_persist_alloc() - Allocate zeroed memory for the life of the process.
 * @size: Bytes; rounded up to a cache-line pair, so that no two objects share
 *	one.
 *
 * Context: preemption off or a plain thread. Takes a lock, may map memory.
 * Return: The memory, or NULL.
 */
void *kr_persist_alloc(size_t size);

#endif /* KR_MEM_PERSIST_H */
