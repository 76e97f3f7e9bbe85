"""localstripe on a free port of this machine, whose address is the first line of the output. It keeps nothing on disk."""

import socket

from aiohttp import web
from localstripe import resources, server

resources.Store.dump_to_disk = lambda store: None

listening = socket.create_server(("127.0.0.1", 0))
print("http://127.0.0.1:%d" % listening.getsockname()[1], flush=True)
web.run_app(server.app, sock=listening, access_log=None, print=None)
