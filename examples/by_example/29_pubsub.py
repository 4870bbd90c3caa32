"""Publish and subscribe: every subscriber gets every message, on a channel of its own. A slow one loses messages."""

from ramet import Chan, go


class Topic:
    def __init__(self):
        self._subscribers = []

    def subscribe(self, room):
        chan = Chan(room)
        self._subscribers.append(chan)
        return chan

    def unsubscribe(self, chan):
        self._subscribers.remove(chan)
        chan.close()

    def publish(self, message):
        """Give it to all who have room. Never waits."""
        return sum(chan.try_send(message) for chan in self._subscribers)

    def close(self):
        for chan in list(self._subscribers):
            self.unsubscribe(chan)


def listen(chan):
    return " ".join(chan)


news = Topic()
ann, bob, cyd = news.subscribe(10), news.subscribe(10), news.subscribe(1)
print("sun reaches", news.publish("sun"))
print("rain reaches", news.publish("rain"))  # cyd's one place is taken
news.unsubscribe(bob)
print("snow reaches", news.publish("snow"))
listeners = {name: go(listen, chan) for name, chan in (("ann", ann), ("bob", bob), ("cyd", cyd))}
news.close()
for name, listener in listeners.items():
    print(f"{name} heard {listener.join()}")
