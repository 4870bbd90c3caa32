"""Mutexes: who has it is alone with the data that it guards, also while it waits for something else."""

from ramet import gosched
from ramet.sync import Mutex, WaitGroup


class Accounts:
    """What everybody has. The sum of it never changes."""

    def __init__(self, **amounts):
        self._mutex = Mutex()
        self._amounts = amounts

    def transfer(self, giver, taker, amount):
        with self._mutex:
            left = self._amounts[giver] - amount
            gosched()  # the others run now, but none of them in here
            self._amounts[giver] = left
            self._amounts[taker] += amount

    def __str__(self):
        with self._mutex:
            return ", ".join(f"{name} {amount}" for name, amount in sorted(self._amounts.items()))


accounts = Accounts(ann=100, bob=100, cyd=100)


def pay(giver, taker, times):
    for _ in range(times):
        accounts.transfer(giver, taker, 1)


wg = WaitGroup()
wg.go(pay, "ann", "bob", 50)
wg.go(pay, "bob", "cyd", 20)
wg.go(pay, "cyd", "ann", 10)
wg.wait()
print(accounts)
