/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Functions that are called when an object is no longer reachable: finalizers,
 * which get the object, and cleanups, which do not.
 *
 * They are called one after another, by one goroutine that is there for nothing
 * else, some time after the cycle that has found out; with kaus_gc(), they are
 * in its queue when it returns. None is called for what is still there when the
 * program ends, and without kaus_run() none is called. A function may do all that a goroutine may, but others wait as
 * long as it waits: it starts a goroutine for what takes long. It returns, and
 * does not call kaus_exit().
 */
#ifndef KAUS_FINAL_H
#define KAUS_FINAL_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kaus_gc_finalizer_set() - Have a function called with an object that dies.
 * @obj: What kaus_alloc() or the like has returned, not a pointer into it.
 * @fn: The function; NULL: none, not the one that was set before either.
 * @arg: Passed to @fn, and kept until then if it points to an object. It must
 *	not point into @obj, which would never die.
 *
 * When nothing refers to @obj any more it is not freed, but @fn is called with
 * it, once. It is like any other object then: it is freed when a later cycle
 * finds that nothing refers to it, and it stays if @fn has stored it somewhere.
 * @fn may set a finalizer for it again. An object has at most one, the one that
 * was set last.
 *
 * All that @obj refers to is there when @fn is called. If objects with
 * finalizers refer to others with finalizers, those are called first that no
 * other refers to. A ring of objects with a finalizer in it, such as an object
 * that points to itself, is never freed. Weak pointers to @obj are cleared
 * before @fn is called.
 *
 * kaus_free() of @obj forgets the finalizer.
 *
 * Context: any thread; not in signal handlers.
 * Return: 0; -EINVAL if @obj is not the beginning of an object, or @arg points
 * into it; -ENOENT if @fn is NULL and there was none; -ENOMEM.
 */
int kaus_gc_finalizer_set(void *obj, void (*fn)(void *obj, void *arg),
			  void *arg);

/**
 * kaus_gc_cleanup_add() - Have a function called when an object is gone.
 * @ptr: To the object, or into it.
 * @fn: The function.
 * @arg: Passed to @fn, and kept until then if it points to an object. It must
 *	not point into the object.
 *
 * It is called when the object has died, or kaus_free() has freed it; the memory
 * may be another's by then. Where there is a finalizer too that is called first,
 * and this one when the object dies after that. An object may have many, which
 * are called in no particular order, and those of objects that refer to each
 * other are called too.
 *
 * Context: any thread; not in signal handlers.
 * Return: 0; -EINVAL if there is no object, @arg points into it, or @fn is NULL;
 * -ENOMEM.
 */
int kaus_gc_cleanup_add(const void *ptr, void (*fn)(void *arg), void *arg);

/**
 * kaus_gc_cleanup_del() - Undo one kaus_gc_cleanup_add().
 * @ptr: To or into the same object.
 * @fn: As there.
 * @arg: As there.
 *
 * Context: any thread; not in signal handlers.
 * Return: 0; -EINVAL if there is no object; -ENOENT if it has none like this.
 */
int kaus_gc_cleanup_del(const void *ptr, void (*fn)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_FINAL_H */
