"""Serves the files of a directory over HTTPS, as an issuer serves its keys.

Arguments: the directory, the certificate, its key, the port. The paths /redirect, /large and /slow answer as their names say,
and every request is a line of standard output.
"""

import http.server
import ssl
import sys
import time

directory, certificate, key, port = sys.argv[1:]


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=directory)

    def do_GET(self):
        print(self.path, self.headers["user-agent"], flush=True)
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("location", "http://localhost/keys.json")
            self.send_header("content-length", "0")
            self.end_headers()
        elif self.path == "/large":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1024):
                    self.wfile.write(b" " * 1024)
            except OSError:
                pass
            self.close_connection = True
        elif self.path == "/slow":
            time.sleep(60)
        else:
            super().do_GET()

    def end_headers(self):
        self.send_header("cache-control", "public, max-age=1")
        super().end_headers()

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("0.0.0.0", int(port)), Handler)
server.daemon_threads = True
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
# The handshake is made by the thread of the connection.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
