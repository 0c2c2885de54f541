"""Applications for a server that waits for requests on their way longer than others do.

It is half a second, in which a client on a busy machine may not have come to its next line. For
the server's process only: who imports this is patient.
"""

import aserver.draining
from tests import served, ws_served

aserver.draining._PATIENCE_SECONDS = 2.0

http, websocket = served.app, ws_served.app
