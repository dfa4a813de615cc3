"""Bytes on disk: the journal, the snapshots and the lock of a store.

Everything here is synchronous, called from one thread, and knows nothing of what the bytes mean.
"""
