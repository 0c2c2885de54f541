"""gunicorn's side of aserver: `gunicorn -k aserver.gunicorn.Worker mysite.asgi:application`.

Nothing outside of this package imports gunicorn, which is an extra.
"""

from .worker import Worker as Worker
