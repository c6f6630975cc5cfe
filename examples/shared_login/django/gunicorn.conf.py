"""How the example serves Django. The address comes from the command line."""

import os
import signal
import sys
import threading

wsgi_app = "shop.wsgi"
workers = 1
threads = 8
# Longer than the proxy keeps an idle connection, so that it never sends a request into one that closes.
keepalive = 30
# Another program would otherwise get a socket below the home directory.
control_socket_disable = True


def when_ready(server):
    """Stop with the example: its end of the pipe closes then, even if it was killed."""

    def wait():
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
