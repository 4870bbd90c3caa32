"""Deadlock: when all wait for what nothing can bring, main gets a DeadlockError, and may go on."""

from ramet import Chan, DeadlockError, go

orders, invoices = Chan(name="orders"), Chan(name="invoices")


def clerk():
    """Writes an invoice when an order has come."""
    invoices.send(f"invoice for {orders.recv()}")


def customer():
    """Orders when the invoice has come."""
    invoices.recv()
    orders.send("tea")


people = [go(clerk), go(customer)]
print("the shop opens")
try:
    for person in people:
        person.join()
except DeadlockError as e:
    print("DeadlockError:", str(e).splitlines()[0])
    for channel in (orders, invoices):
        print(f"the report names the channel {channel.name}:", repr(channel) in str(e))

# Nothing is broken: what is missing can still be brought.
orders.send("coffee")
orders.recv()  # the customer has the invoice, and orders
print("everybody is done:", all(person.exception() is None for person in people))
