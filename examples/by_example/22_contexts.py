"""Contexts: cancellation, deadlines and values that go along with a request, from call to call."""

from ramet import Chan, context, go, select


def numbers(ctx, out):
    """Sends 0, 1, 2, ... until its context is cancelled."""
    n = 0
    while select(ctx.done, out.if_send(n)).chan is out:
        n += 1
    print("numbers:", ctx.err())


ctx, cancel = context.with_cancel(context.background())
out = Chan()
sender = go(numbers, ctx, out)
print(out.recv(), out.recv(), out.recv())
cancel()
sender.join()

# Whoever waits in a context's block needs no select: the wait is cancelled with it.
ctx, cancel = context.with_timeout(context.background(), 0.02)
try:
    with ctx:
        Chan().recv()
except context.DeadlineExceeded as e:
    print("the wait:", e)

# Values go down the tree, and so does cancellation.
parent, cancel = context.with_cancel(context.background())
child = context.with_value(parent, "user", "Ann")
print("user:", child.value("user"))
cancel()
print("the child:", child.err())
