"""Not waiting: try_send and try_recv, and select with a default."""

from ramet import Chan, WouldBlock, default, select

messages, signals = Chan(1), Chan()

try:
    messages.try_recv()
except WouldBlock:
    print("no message")

print("sent:", messages.try_send("hi"))
print("sent another:", messages.try_send("hello"))

value, ok = messages.try_recv()
print("received:", value)

if select(messages, signals, default) == default:
    print("nothing from either")

# What is ready goes before the default.
messages.send("here I am")
got = select(messages, signals, default)
if got.chan is messages:
    print("received:", got.value)
