"""Once: what many need and one has to do. The others wait until it is done."""

from ramet.sync import Once, WaitGroup, once_value
from ramet.time import sleep

once = Once()
loaded = []


def load():
    print("loading")
    sleep(0.01)  # the others come meanwhile
    loaded.append("settings")


def user(places, n):
    once.do(load)
    places[n] = loaded[0]


places = [""] * 3
wg = WaitGroup()
for n in range(3):
    wg.go(user, places, n)
wg.wait()
print(*places)


@once_value
def answer():
    print("computing")
    return 42


print(answer())
print(answer())
