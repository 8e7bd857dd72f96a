/* SPDX-License-Identifier: GPL-2.0-only */
/* For stores.c: a type of another file. */
#include <kaus.h>

struct tree {
	struct tree *left, *right;
	long key;
};

KAUS_TYPE(tree_type, struct tree, left, right);

void assign(struct tree *t, struct tree *to);
void atomically(struct tree *t, struct tree *to);
void by_global(void);
void known(struct tree *t);
struct tree *make(struct tree *left, struct tree *right);
struct tree *second_store(struct tree *to);
