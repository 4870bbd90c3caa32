"""An event: several goroutines wait for one thing to happen, and it happens for all of them at once."""

import ramet
from ramet import go, select
from ramet.sync import Event
from ramet.time import MILLISECOND, sleep

open_ = Event()


def customer(name):
    open_.wait()
    print(f"{name} goes in")


def impatient(name):
    if not open_.wait(timeout=20 * MILLISECOND):
        print(f"{name} goes home")


def careful(name, rain):
    """An event is also a case of select."""
    if select(rain, open_.if_set()).index == 1:
        print(f"{name} goes in, and it did not rain")


def main():
    rain = ramet.Chan()
    waiting = [go(customer, name) for name in ("Ann", "Bob", "Cyd")]
    waiting += [go(impatient, "Dan"), go(careful, "Eve", rain)]
    sleep(60 * MILLISECOND)
    print("the shop opens")
    open_.set()
    for goroutine in waiting:
        goroutine.join()
    customer("a late one")  # set stays set: nobody waits any more


ramet.run(main)
