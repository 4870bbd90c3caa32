"""The prime sieve: a chain of goroutines, one for each prime, each of which lets pass what its prime does not divide.

python sieve.py [COUNT]    the first COUNT primes (10)
"""

import sys

import ramet


def generate(out):
    """Send 2, 3, 4, ..."""
    number = 2
    while True:
        out.send(number)
        number += 1


def sift(source, out, prime):
    """Copy from `source` to `out` what `prime` does not divide."""
    while True:
        number = source.recv()
        if number % prime:
            out.send(number)


def main(count):
    source = ramet.Chan()
    ramet.go(generate, source)
    for _ in range(count):
        prime = source.recv()
        print(prime)
        sifted = ramet.Chan()
        ramet.go(sift, source, sifted, prime)
        source = sifted


# When main returns, run() cancels the goroutines of the chain, which would go on for ever.
ramet.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 10)
