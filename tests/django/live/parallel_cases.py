"""Classes for a process that has a thread of sync_to_async's already: its forks have not."""

import asyncio

from asgiref.sync import sync_to_async

from tests.django.live.cases import ChangedThread, Thread

__all__ = ["ChangedThread", "Thread"]

asyncio.run(sync_to_async(int)())
