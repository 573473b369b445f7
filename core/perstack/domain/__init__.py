"""Frozen models, ids, events and pure rules. Never: I/O, clock, asyncio."""
