/* rand.h: the random choices of select: wyrand (Wang Yi), as in Go's runtime. Not for secrets. */
#ifndef RM_RAND_H
#define RM_RAND_H

#include "base/base.h"

rm_inline uint64_t rm_rand(uint64_t *state) {
    *state += 0xa0761d6478bd642fULL;
    __uint128_t t = (__uint128_t)*state * (*state ^ 0xe7037ed1a0b428dbULL);
    return (uint64_t)(t >> 64) ^ (uint64_t)t;
}

/* Uniform in [0, n), n > 0 (Lemire's multiply-shift; the bias of n/2^32 does not matter here). */
rm_inline uint32_t rm_rand_below(uint64_t *state, uint32_t n) {
    return (uint32_t)(((rm_rand(state) & 0xffffffffu) * n) >> 32);
}

#endif
