/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Weak pointers: they do not keep an object, and are NULL once it has died. They
 * may lie anywhere, in memory of malloc() too.
 */
#ifndef KAUS_WEAK_H
#define KAUS_WEAK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kaus_weak - A weak pointer: a number, to be copied as one likes.
 * @id: The library's. 0: one that is NULL from the beginning. Two that were made
 *	from equal pointers, of which none has been dropped, have the same.
 */
struct kaus_weak {
	uint64_t id;
};

/**
 * kaus_weak_make() - Make a weak pointer.
 * @ptr: To an object of the heap, or into it.
 *
 * It uses some memory outside of the heap until kaus_weak_drop(), also when the
 * object has died.
 *
 * Context: any thread; not in signal handlers.
 * Return: the pointer; with @id 0 if there is no object, or no memory.
 */
struct kaus_weak kaus_weak_make(const void *ptr);

/**
 * kaus_weak_get() - Read a weak pointer.
 * @weak: From kaus_weak_make(), also while others read and drop it.
 *
 * It is NULL from the moment that the collector has found nothing else that
 * refers to the object: before the object's finalizer is called, and also if
 * that makes it reachable again. kaus_free() clears it at once. A pointer that
 * was returned keeps the object as any other does, which is to say not in a
 * plain thread that has not registered, see kaus_gc_thread_register().
 *
 * Context: any thread; not in signal handlers. Takes no lock in a goroutine.
 * Return: the pointer that it was made from, or NULL; NULL if it was dropped.
 */
void *kaus_weak_get(struct kaus_weak weak);

/**
 * kaus_weak_drop() - Give a weak pointer back.
 * @weak: From kaus_weak_make(); as often as that has returned it.
 *
 * Context: any thread; not in signal handlers.
 * Return: 0, or -EINVAL if it was dropped before, or never made.
 */
int kaus_weak_drop(struct kaus_weak weak);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_WEAK_H */
