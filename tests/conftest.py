"""For every test: a shell that runs us in the background has made SIGINT ignored, also for our children."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
