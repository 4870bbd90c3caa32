"""Spawning processes: the subprocess module's run(), but only the goroutine that calls it waits."""

from ramet import gather, go, os

done = os.run(["echo", "hello from a child"], capture_output=True, text=True)
print(done.stdout.rstrip())

done = os.run(["sh", "-c", "exit 3"])
print("exit status", done.returncode)

try:
    os.run(["false"], check=True)
except os.CalledProcessError as e:
    print("failed with", e.returncode)

try:
    os.run(["no-such-program"])
except FileNotFoundError:
    print("there is no such program")

try:
    os.run(["sleep", "60"], timeout=0.05)  # kills it
except os.TimeoutExpired:
    print("it took too long")


def tr(word):
    return os.run(["tr", "a-z", "A-Z"], input=word, capture_output=True, text=True).stdout


print(*gather(*(go(tr, word) for word in ("one", "two", "three"))))  # three children at once
