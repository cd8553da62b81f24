"""CPython's own http.server, at the listener that it was given: serves a directory.

Usage: python serve.py [DIRECTORY]

This build of CPython has its standard library inside, in a file system of its own between the program and WASI. That
knows files and directories, but no sockets: of WASI's calls for descriptors, only accept, recv, send and shutdown reach
one. So nothing is waited for by `poll`, no socket is set to anything, and none is closed; clients see the end by
`shutdown`.
"""

import errno
import functools
import http.server
import socket
import socketserver
import sys
import time

#: Descriptors to look for the listener at.
DESCRIPTORS = range(3, 64)


class Server(http.server.HTTPServer):
    """A server whose socket listens already, and whose clients' addresses nobody can tell."""

    def __init__(self, handler):
        socketserver.BaseServer.__init__(self, None, handler)
        self.candidates = list(DESCRIPTORS)

    def get_request(self):
        """The next connection. Until the first, the listener is the first descriptor that can accept one."""
        while self.candidates:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=self.candidates[0])
            try:
                connection, _ = listener.accept()
                return connection, ("client", 0)
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    time.sleep(0.01)
                elif error.errno in (errno.EBADF, errno.ENOTSOCK):
                    self.candidates.pop(0)
                else:
                    raise
            finally:
                listener.detach()
        sys.exit("no listener was given: run with --tcplisten ADDRESS:PORT")

    def close_request(self, request):
        request.detach()

    def serve_forever(self):
        while True:
            request, client = self.get_request()
            try:
                self.process_request(request, client)
            except OSError as error:
                print("python:", error, file=sys.stderr)


directory = sys.argv[1] if len(sys.argv) > 1 else "."
server = Server(functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory))
print("python: ready", file=sys.stderr, flush=True)
server.serve_forever()
