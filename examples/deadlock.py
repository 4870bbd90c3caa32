"""A deadlock: two goroutines take two locks in opposite order.

ramet sees that nothing can ever go on, and says where everybody stands.
"""

import ramet
from ramet.sync import Mutex
from ramet.time import MILLISECOND, sleep

forks, knives = Mutex(), Mutex()


def eat(name, first, second):
    ramet.current().name = name
    with first:
        sleep(10 * MILLISECOND)  # long enough for the other one to take what is second here
        with second:
            print(f"{name} eats")


def main():
    platon = ramet.go(eat, "Platon", forks, knives)
    sokrates = ramet.go(eat, "Sokrates", knives, forks)
    try:
        platon.join()
        sokrates.join()
    except ramet.DeadlockError as e:
        print("DeadlockError:", e)
    platon.cancel()  # he waits, so he can be cancelled; leaving his block, he puts the forks back
    print("Platon was cancelled:", platon.exception() is not None)
    sokrates.join()

    print("an order mends it: everybody takes the forks first")
    for philosopher in [ramet.go(eat, name, forks, knives) for name in ("Platon", "Sokrates")]:
        philosopher.join()


ramet.run(main)
