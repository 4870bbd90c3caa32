/* overflow.h: a stack overflow is named. See overflow.c. */
#ifndef RM_OVERFLOW_H
#define RM_OVERFLOW_H

#include "park.h"

int rm_overflow_install(void);     /* the process's handlers, counted; 0 or -errno */
void rm_overflow_uninstall(void);
void rm_overflow_recheck(void);    /* any thread, now and then: be in front of handlers that came after us */
int rm_overflow_thread_init(void); /* an alternate signal stack for this thread, if it has none */
void rm_overflow_thread_fini(void);
/* For who asks what is installed. Of the handler of sig: 0: it is not there; 1: in place; 2: another has come before it
 * and perhaps calls it. And whether this thread has an alternate stack of ours. */
int rm_overflow_installed(int sig);
bool rm_overflow_thread_installed(void);

#endif
