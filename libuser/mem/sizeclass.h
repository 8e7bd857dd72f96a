/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Which class of size a small object belongs to. */
#ifndef KR_MEM_SIZECLASS_H
#define KR_MEM_SIZECLASS_H

#include <stddef.h>

#include "base/compiler.h"
#include "mem/sizeclass_table.h"

/* What the collector looks at in an object. */
enum kr_kind {
	KR_NOSCAN,		/* nothing: it holds no pointers */
	KR_CONS,		/* each aligned word: it may be a pointer */
	KR_TYPED,		/* what the type says, whose address ends it */
	KR_NR_KINDS,
};

#define KR_NR_SPANCLASSES	(KR_NR_CLASSES * KR_NR_KINDS)

/* @size is at most KR_SMALL_MAX. */
KR_INLINE unsigned int kr_class_of(size_t size)
{
	if (likely(size <= KR_BY16_MAX))
		return kr_class_by16[(size + 15) / 16];
	return kr_class_by128[(size - KR_BY16_MAX + 127) / 128];
}

KR_INLINE unsigned int kr_spanclass(unsigned int class, enum kr_kind kind)
{
	return kind * KR_NR_CLASSES + class;
}

#endif /* KR_MEM_SIZECLASS_H */
