/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The heap. Memory comes zeroed, and aligned to 16 bytes for any use. What an
 * object may hold pointers in is said when it is allocated: in no word, in any,
 * or in those that its type names.
 */
#ifndef KAUS_ALLOC_H
#define KAUS_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kaus_ptrs - Words of an object that may hold pointers into the heap.
 * @offset: Byte offset of the first, a multiple of 8.
 * @nr_words: Number of words.
 */
struct kaus_ptrs {
	uint32_t offset;
	uint32_t nr_words;
};

/**
 * struct kaus_type - What an object consists of. Made by KAUS_TYPE().
 * @size: Its size.
 * @ptr_bytes: Sum of all words in @ptrs, in bytes.
 * @nr_ptrs: Number of entries in @ptrs.
 * @ptrs: Where pointers are, by rising offset.
 * @name: For profiles and reports.
 */
struct kaus_type {
	size_t size;
	size_t ptr_bytes;
	size_t nr_ptrs;
	const struct kaus_ptrs *ptrs;
	const char *name;
};

/* KAUS_EACH_(m, t, a, b, ...): m(t, a) m(t, b) ..., up to 16 of them. */
#define KAUS_E1_(m, t, f)	m(t, f)
#define KAUS_E2_(m, t, f, ...)	m(t, f) KAUS_E1_(m, t, __VA_ARGS__)
#define KAUS_E3_(m, t, f, ...)	m(t, f) KAUS_E2_(m, t, __VA_ARGS__)
#define KAUS_E4_(m, t, f, ...)	m(t, f) KAUS_E3_(m, t, __VA_ARGS__)
#define KAUS_E5_(m, t, f, ...)	m(t, f) KAUS_E4_(m, t, __VA_ARGS__)
#define KAUS_E6_(m, t, f, ...)	m(t, f) KAUS_E5_(m, t, __VA_ARGS__)
#define KAUS_E7_(m, t, f, ...)	m(t, f) KAUS_E6_(m, t, __VA_ARGS__)
#define KAUS_E8_(m, t, f, ...)	m(t, f) KAUS_E7_(m, t, __VA_ARGS__)
#define KAUS_E9_(m, t, f, ...)	m(t, f) KAUS_E8_(m, t, __VA_ARGS__)
#define KAUS_E10_(m, t, f, ...)	m(t, f) KAUS_E9_(m, t, __VA_ARGS__)
#define KAUS_E11_(m, t, f, ...)	m(t, f) KAUS_E10_(m, t, __VA_ARGS__)
#define KAUS_E12_(m, t, f, ...)	m(t, f) KAUS_E11_(m, t, __VA_ARGS__)
#define KAUS_E13_(m, t, f, ...)	m(t, f) KAUS_E12_(m, t, __VA_ARGS__)
#define KAUS_E14_(m, t, f, ...)	m(t, f) KAUS_E13_(m, t, __VA_ARGS__)
#define KAUS_E15_(m, t, f, ...)	m(t, f) KAUS_E14_(m, t, __VA_ARGS__)
#define KAUS_E16_(m, t, f, ...)	m(t, f) KAUS_E15_(m, t, __VA_ARGS__)
#define KAUS_NTH_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, nth, ...) nth
#define KAUS_EACH_(m, t, ...)						\
	KAUS_NTH_(__VA_ARGS__, KAUS_E16_, KAUS_E15_, KAUS_E14_, KAUS_E13_, \
		  KAUS_E12_, KAUS_E11_, KAUS_E10_, KAUS_E9_, KAUS_E8_,	\
		  KAUS_E7_, KAUS_E6_, KAUS_E5_, KAUS_E4_, KAUS_E3_,	\
		  KAUS_E2_, KAUS_E1_, 0)(m, t, __VA_ARGS__)

#define KAUS_BYTES_OF_(t, f)	(sizeof(((t *)0)->f) & ~(size_t)7)
#define KAUS_PLUS_BYTES_OF_(t, f) + KAUS_BYTES_OF_(t, f)
#define KAUS_PTRS_OF_(t, f)						\
	{ (uint32_t)offsetof(t, f), (uint32_t)(KAUS_BYTES_OF_(t, f) / 8) },

/**
 * KAUS_TYPE() - Define a type with pointers into the heap.
 * @var: Name of the variable, static, that it is to be.
 * @type: The C type.
 * @...: Its members that hold pointers, by rising offset, at most 16: pointers,
 *	arrays of pointers, or structures of which each word may be one.
 *
 * A member that is not named is not seen by the collector: what only it points
 * to is freed. One that is named and holds no pointer does no harm.
 */
#define KAUS_TYPE(var, type, ...)					\
	static const struct kaus_ptrs kaus_ptrs_of_##var[] = {		\
		KAUS_EACH_(KAUS_PTRS_OF_, type, __VA_ARGS__)		\
	};								\
	static const struct kaus_type var = {				\
		sizeof(type),						\
		0 KAUS_EACH_(KAUS_PLUS_BYTES_OF_, type, __VA_ARGS__),	\
		sizeof(kaus_ptrs_of_##var) / sizeof(struct kaus_ptrs),	\
		kaus_ptrs_of_##var, #type				\
	}

/**
 * KAUS_TYPE_NOSCAN() - Define a type without pointers into the heap.
 * @var: Name of the variable, static, that it is to be.
 * @type: The C type.
 */
#define KAUS_TYPE_NOSCAN(var, type)					\
	static const struct kaus_type var = {				\
		sizeof(type), 0, 0, NULL, #type				\
	}

/**
 * kaus_alloc() - Allocate memory, each word of which may be a pointer.
 * @size: Bytes. With 0 the object is of the least size there is.
 *
 * Context: any thread; not in signal handlers.
 * Return: zeroed memory; NULL with errno ENOMEM if there is none, or @size is
 * more than a program can have.
 */
void *kaus_alloc(size_t size) __attribute__((malloc, alloc_size(1)));

/**
 * kaus_alloc_noscan() - Allocate memory that will hold no pointers.
 * @size: As for kaus_alloc().
 *
 * The collector does not look inside. Context: as kaus_alloc().
 * Return: as kaus_alloc().
 */
void *kaus_alloc_noscan(size_t size) __attribute__((malloc, alloc_size(1)));

/**
 * kaus_alloc_array() - Allocate an array as kaus_alloc() does.
 * @nr: Number of elements.
 * @size: Of one.
 *
 * Context: as kaus_alloc().
 * Return: as kaus_alloc(); NULL also if the product does not fit into size_t.
 */
void *kaus_alloc_array(size_t nr, size_t size)
	__attribute__((malloc, alloc_size(1, 2)));

/**
 * kaus_alloc_array_noscan() - Allocate an array as kaus_alloc_noscan() does.
 * @nr: Number of elements.
 * @size: Of one.
 *
 * Context: as kaus_alloc().
 * Return: as kaus_alloc_array().
 */
void *kaus_alloc_array_noscan(size_t nr, size_t size)
	__attribute__((malloc, alloc_size(1, 2)));

/**
 * kaus_new() - Allocate an object of a type.
 * @type: From KAUS_TYPE() or KAUS_TYPE_NOSCAN(); it must stay.
 *
 * Context: as kaus_alloc().
 * Return: as kaus_alloc().
 */
void *kaus_new(const struct kaus_type *type) __attribute__((malloc));

/**
 * kaus_new_array() - Allocate an array of a type.
 * @type: As for kaus_new().
 * @nr: Number of elements.
 *
 * Context: as kaus_alloc().
 * Return: as kaus_alloc_array().
 */
void *kaus_new_array(const struct kaus_type *type, size_t nr)
	__attribute__((malloc));

/**
 * kaus_free() - Free an object.
 * @obj: What one of the functions above returned, or NULL.
 *
 * The memory may be used again at once. This is a hint where there is a
 * collector, which frees what is not reachable in any case, and ignores it in
 * the midst of a cycle. Anything else than the beginning of an object that is
 * in use, and has not been freed before, is reported on stderr, and the
 * program is aborted; unless the memory has been set aside for others by then,
 * which cannot be told from its being in use. What is to happen when the object
 * dies does, but its finalizer is forgotten: kaus_gc_finalizer_set().
 *
 * Context: as kaus_alloc().
 */
void kaus_free(void *obj);

/**
 * kaus_alloc_size() - Size of an object.
 * @obj: Any pointer.
 *
 * Context: any.
 * Return: the bytes that may be used, at least what was asked for; 0 if no
 * object that is in use begins there.
 */
size_t kaus_alloc_size(const void *obj);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_ALLOC_H */
