/* arena.h: keep a few data-stack chunks. See arena.c. */
#ifndef RAMET_ARENA_H
#define RAMET_ARENA_H

void rm_arena_install(void);   /* counted; GIL held */
void rm_arena_uninstall(void); /* the last gives back what is kept; GIL held */
/* 0: not there; 1: in place; 2: somebody else's stands above it. */
int rm_arena_installed(void);

#endif
