/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What happens when objects die, for programs. */
#include <errno.h>
#include <kaus/final.h>
#include <kaus/weak.h>

#include "gc/enter.h"
#include "gc/special.h"

KR_API int kaus_gc_finalizer_set(void *obj, void (*fn)(void *obj, void *arg),
				 void *arg)
{
	struct m *mp;
	int err;

	if (!kr_gc_enter(&mp))
		return -EINVAL;
	err = kr_final_set(obj, fn, arg);
	kr_gc_exit(mp);
	return err;
}

KR_API int kaus_gc_cleanup_add(const void *ptr, void (*fn)(void *arg),
			       void *arg)
{
	struct m *mp;
	int err;

	if (!kr_gc_enter(&mp))
		return -EINVAL;
	err = kr_cleanup_add(ptr, fn, arg);
	kr_gc_exit(mp);
	return err;
}

KR_API int kaus_gc_cleanup_del(const void *ptr, void (*fn)(void *arg),
			       void *arg)
{
	struct m *mp;
	int err;

	if (!kr_gc_enter(&mp))
		return -EINVAL;
	err = kr_cleanup_del(ptr, fn, arg);
	kr_gc_exit(mp);
	return err;
}

KR_API struct kaus_weak kaus_weak_make(const void *ptr)
{
	struct kaus_weak weak = { 0 };
	struct m *mp;

	if (!kr_gc_enter(&mp))
		return weak;
	weak.id = kr_weak_make(ptr);
	kr_gc_exit(mp);
	return weak;
}

KR_API void *kaus_weak_get(struct kaus_weak weak)
{
	struct m *mp;
	void *ptr;

	if (!weak.id || !kr_gc_enter(&mp))
		return NULL;
	ptr = kr_weak_get(weak.id);
	kr_gc_exit(mp);
	return ptr;
}

KR_API int kaus_weak_drop(struct kaus_weak weak)
{
	struct m *mp;
	int err;

	if (!kr_gc_enter(&mp))
		return -EINVAL;
	err = kr_weak_drop(weak.id);
	kr_gc_exit(mp);
	return err;
}
