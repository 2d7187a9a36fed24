"""NATS JetStream as the queue: orders in a work-queue stream, reply frames over core NATS.

JetStream's acknowledgements are not fenced: a stale holder's `+ACK` removes the newer delivery, and renewing an ended
lease succeeds silently. So a new epoch is a new message, the gateway ends an old lease by deleting its message, and a
worker asks at each renewal whether its message still exists.
"""
