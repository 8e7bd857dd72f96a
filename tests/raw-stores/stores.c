// SPDX-License-Identifier: GPL-2.0-only
/*
 * For check_raw_stores.sh: tools/raw-stores.sh must report the lines marked FAULT,
 * and no other one. Compiled, not run.
 */
#include <stdatomic.h>
#include <string.h>

#include "stores.h"

struct pair {
	struct tree *first, *second;
};

typedef struct record {
	long number;
	char *name;
	struct pair pair;
	void *slots[4];
	char text[16];
} record_t;

KAUS_TYPE(record_type, record_t, name, pair,
	  slots);

struct plain {
	struct tree *left;
	struct plain *next;
};

KAUS_TYPE_NOSCAN(plain_type, struct plain);

static struct tree *top;
static struct tree forest[4];

/* ---- faults ---- */

void assign(struct tree *t, struct tree *to)
{
	t->left = to;					/* FAULT */
	(*t).right = to;				/* FAULT */
	t->left->right = to;				/* FAULT */
	if (to)
		to->left = t->left = NULL;		/* FAULT */
	for (; t; t->right = NULL, t = t->left)		/* FAULT */
		;
}

void through_typedef(record_t *r, const record_t *from, int i)
{
	r->name = from->name;				/* FAULT */
	r->name += 1;					/* FAULT */
	r->name++;					/* FAULT */
	--r->name;					/* FAULT */
	r->pair = from->pair;				/* FAULT */
	r->pair.second = NULL;				/* FAULT */
	r->slots[i] = r;				/* FAULT */
	r[2].slots[0] = NULL;				/* FAULT */
	r[i].name = NULL;				/* FAULT */
	((struct record *)from->slots[0])->name = NULL;	/* FAULT */
}

void whole(struct tree *t, record_t *r, const record_t *from)
{
	*t = (struct tree){ .left = top };		/* FAULT */
	r[1] = *from;					/* FAULT */
	memcpy(r, from, sizeof(*r));			/* FAULT */
	memmove(t, top, sizeof(*t));			/* FAULT */
	memset(t, 0, sizeof(*t));			/* FAULT */
	memset(&r->pair, 0, sizeof(r->pair));		/* FAULT */
	memset(r->slots, 0, sizeof(r->slots));		/* FAULT */
	memcpy(&r->slots[1], from->slots, 8);		/* FAULT */
}

void atomically(struct tree *t, struct tree *to)
{
	__atomic_store_n(&t->left, to, __ATOMIC_RELEASE);	/* FAULT */
	to = __atomic_exchange_n(&t->right, to, __ATOMIC_SEQ_CST); /* FAULT */
	if (!__sync_bool_compare_and_swap(&t->left, NULL, to))	/* FAULT */
		return;
	t->left = to;						/* FAULT */
}

struct tree *second_store(struct tree *to)
{
	struct tree *t = kaus_new(&tree_type);

	t->left = to;
	t->left = t;					/* FAULT */
	t->right = to;
	t = to;
	t->right = NULL;				/* FAULT */
	return t;
}

/* A global variable is none of these; what it points to is. */
void by_global(void)
{
	top->left = NULL;				/* FAULT */
	top = NULL;
	forest[1].left = NULL;
}

/* ---- none ---- */

struct tree *make(struct tree *left, struct tree *right)
{
	struct tree *t = kaus_new(&tree_type), *u;
	record_t *r;

	if (!t)
		return NULL;
	t->left = left;
	t->right = right;
	u = kaus_alloc(sizeof(*u));
	memset(u, 0, sizeof(*u));
	u->left = t;
	r = kaus_new(&record_type);
	r->name = NULL;
	r->slots[0] = u;
	r->pair.first = t;
	return r->slots[0];
}

void declared(struct tree *t, record_t *r, struct tree *to)
{
	KAUS_STORE(&t->left, to);
	kaus_gc_store(&r->slots[2], to);
	to = kaus_gc_exchange(&t->right, NULL);
	kaus_gc_copy(r, &(record_t){ .number = 1 }, sizeof(*r));
	kaus_gc_clear(t, sizeof(*t));
}

long others(struct tree *t, record_t *r, struct plain *p)
{
	struct tree on_stack = { .left = t }, *also = &on_stack;
	struct pair pair = r->pair;
	record_t copy = *r;

	on_stack.right = t;
	also->left = NULL;
	pair.first = t;
	copy.name = NULL;
	copy.slots[1] = NULL;
	p->left = t;
	p->next = NULL;
	t->key = 1;
	r->number++;
	memcpy(r->text, "text", 5);
	strcpy(r->text, r->name);
	t = t->left;
	if (r->name == NULL || t->left != also)
		return pair.second->key;
	return copy.number;
}

void known(struct tree *t)
{
	t->left = NULL;		/* raw store: it was null */
}
