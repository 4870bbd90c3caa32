"""A condition: goroutines sleep until what they wait for is true, and look again whenever somebody says it changed.

Bob wants three coins, Ann wants one, Cyd wants six; main throws coins into the purse, one by one.
"""

import ramet
from ramet.sync import Cond
from ramet.time import MILLISECOND, sleep

changed = Cond()  # with a Mutex of its own, which also guards the purse
purse = 0


def wants(name, coins):
    global purse
    with changed:
        while purse < coins:  # another one may have been faster: look again
            changed.wait()  # lets go of the mutex, and has it again when it returns
        purse -= coins
        print(f"{name} takes {coins}, {purse} left")


def main():
    global purse
    people = [ramet.go(wants, "Bob", 3), ramet.go(wants, "Ann", 1), ramet.go(wants, "Cyd", 6)]
    for _ in range(10):
        sleep(10 * MILLISECOND)
        with changed:
            purse += 1
            changed.broadcast()  # they want different amounts: wake all of them
    for person in people:
        person.join()
    with changed:
        rich = changed.wait_for(lambda: purse >= 1, timeout=20 * MILLISECOND)  # as in the standard library: a result
        print(f"the purse holds {purse}, wait_for says {rich}")


ramet.run(main)
