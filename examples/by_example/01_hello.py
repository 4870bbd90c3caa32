"""Hello, goroutines: go() starts a function beside its caller, and join() gives what it returned."""

import ramet


def greet(name):
    for n in range(3):
        print(f"{name} says hello, {n}")


greet("main")

greeting = ramet.go(greet, "a goroutine")
greeting.join()


@ramet.go
def unnamed():
    print("this function is a goroutine from its first line on")


unnamed.join()

answer = ramet.go(lambda x, y: x * y, 6, 7)
print("the answer is", answer.join())
