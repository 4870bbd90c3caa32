/* sysmon.h: the thread that watches the proc. See sysmon.c. */
#ifndef RM_SYSMON_H
#define RM_SYSMON_H

#include "park.h"

int rm_sysmon_start(rm_rt *rt);
void rm_sysmon_stop(rm_rt *rt, bool child_of_fork);
/* The proc leaves its idle poll: sysmon must not sleep on. */
void rm_sysmon_wake(rm_rt *rt);

#endif
