"""RWMutex: many may read together; who writes is alone."""

from ramet import Chan
from ramet.sync import RWMutex, WaitGroup

guard = RWMutex()
value = 1
inside, all_in = Chan(), Chan()
wg = WaitGroup()


def reader():
    with guard.rlocker():
        inside.send(value)
        all_in.recv_ok()  # stays inside until all three are


for _ in range(3):
    wg.go(reader)
print("three readers are inside at once:", inside.recv(), inside.recv(), inside.recv())
print("a writer may enter:", guard.try_lock())
all_in.close()
wg.wait()

with guard:
    value = 2
    print("the writer is inside; a reader may enter:", guard.try_rlock())
with guard.rlocker():
    print("afterwards it reads", value)
