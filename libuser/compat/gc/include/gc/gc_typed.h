/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Objects with a map of the words that may be pointers: see kaus_libgc(3). */
#ifndef GC_TYPED_H
#define GC_TYPED_H

#ifndef GC_H
#include "gc.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef GC_word *GC_bitmap;
typedef GC_word GC_descr;

#define GC_WORDSZ		(8 * sizeof(GC_word))
#define GC_get_bit(bm, index) \
	(((bm)[(index) / GC_WORDSZ] >> ((index) % GC_WORDSZ)) & 1)
#define GC_set_bit(bm, index) \
	((bm)[(index) / GC_WORDSZ] |= (GC_word)1 << ((index) % GC_WORDSZ))
#define GC_WORD_OFFSET(t, f)	(offsetof(t, f) / sizeof(GC_word))
#define GC_WORD_LEN(t)		(sizeof(t) / sizeof(GC_word))
#define GC_BITMAP_SIZE(t)	((GC_WORD_LEN(t) + GC_WORDSZ - 1) / GC_WORDSZ)

GC_API GC_descr GC_make_descriptor(const GC_word *bitmap, size_t nr_bits);
GC_API void *GC_malloc_explicitly_typed(size_t size, GC_descr descr)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_explicitly_typed_ignore_off_page(size_t size,
							GC_descr descr)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_calloc_explicitly_typed(size_t nr, size_t size,
					GC_descr descr)
	GC_ATTR_MALLOC GC_ATTR_CALLOC_SIZE(1, 2);

#ifdef GC_DEBUG
#define GC_MALLOC_EXPLICITLY_TYPED(size, d) ((void)(d), GC_MALLOC(size))
#define GC_CALLOC_EXPLICITLY_TYPED(nr, size, d) \
	((void)(d), GC_MALLOC((nr) * (size)))
#else
#define GC_MALLOC_EXPLICITLY_TYPED(size, d) GC_malloc_explicitly_typed(size, d)
#define GC_CALLOC_EXPLICITLY_TYPED(nr, size, d) \
	GC_calloc_explicitly_typed(nr, size, d)
#endif

#ifdef __cplusplus
}
#endif

#endif /* GC_TYPED_H */
