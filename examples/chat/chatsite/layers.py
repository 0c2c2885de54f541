"""Which channel layer carries the groups: memory for one process, Redis for several."""

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def channel_layer(setting: str) -> dict[str, Any]:
    """The entry for `CHANNEL_LAYERS`: "memory", or the URL of a Redis."""
    if setting == "memory":
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if not setting.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(
            f'CHANNEL_LAYER is "{setting}"; it can be "memory" or a URL such as "redis://host:6379/0".'
        )
    if find_spec("channels_redis") is None:
        raise ImproperlyConfigured(
            f'CHANNEL_LAYER is "{setting}", which needs a package: pip install channels-redis'
        )
    # channels_redis waits 5 seconds for a message, again and again. Since redis-py 8 a socket times
    # out after 5 seconds, too: an error, and the end of every connection in a quiet room.
    host = {"address": setting, "socket_timeout": 15}
    return {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}
