"""The worker: pulls work orders from the queue and drives the engine beside it."""
