/* list.h: an intrusive, circular, doubly linked list. An empty list and an unlinked node point to themselves. */
#ifndef RM_LIST_H
#define RM_LIST_H

#include "base/base.h"

typedef struct rm_list {
    struct rm_list *next, *prev;
} rm_list;

rm_inline void rm_list_init(rm_list *l) { l->next = l->prev = l; }
rm_inline bool rm_list_empty(const rm_list *l) { return l->next == l; }

rm_inline void rm_list_push(rm_list *l, rm_list *n) { /* at the tail */
    n->next = l;
    n->prev = l->prev;
    l->prev->next = n;
    l->prev = n;
}

rm_inline void rm_list_remove(rm_list *n) {
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = n;
}

#define rm_list_first(l, type, member) rm_container_of((l)->next, type, member)
#define rm_list_foreach(it, l) for (rm_list *it = (l)->next; it != (l); it = it->next)
#define rm_list_foreach_safe(it, l)                                                                                    \
    for (rm_list *it = (l)->next, *it##_next = it->next; it != (l); it = it##_next, it##_next = it->next)

#endif
