/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* As <gc/gc_version.h>, for programs that include it so. */
#include "gc/gc_version.h"
