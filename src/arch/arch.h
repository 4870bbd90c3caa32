/* arch.h: what a processor must supply: the switch. See switch_x86_64.S for its contract. */
#ifndef RM_ARCH_H
#define RM_ARCH_H

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "ramet: no stack switch for this processor (have: x86-64, aarch64)"
#endif

void rm_arch_switch(void **save, void *to, void *fresh);

#endif
