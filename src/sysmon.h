/* sysmon.h: the thread that watches the proc. See sysmon.c. */
#ifndef RM_SYSMON_H
#define RM_SYSMON_H

#include "park.h"

int rm_sysmon_start(rm_rt *rt);
void rm_sysmon_stop(rm_rt *rt, bool child_of_fork);
/* The proc leaves its idle poll: sysmon must not sleep on. */
void rm_sysmon_wake(rm_rt *rt);

/* How long a free stack lies unused, ns, before its memory is given back; tests shorten it. */
extern int64_t rm_sysmon_trim_ns;

#endif
