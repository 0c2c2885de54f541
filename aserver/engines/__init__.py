"""Engines: bytes from and to the peer on one side, method calls on the other.

No IO, no clock, no logging, and no import of asyncio, ssl or socket: an engine is tested on bytes.
"""
