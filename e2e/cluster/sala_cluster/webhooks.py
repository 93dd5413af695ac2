"""A receiver of webhooks: what the cluster tells an application."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from livekit import api


class Receiver:
    """Listens on a free port of this machine. Events come at least once: the same id counts once."""

    def __init__(self) -> None:
        self._events: dict[str, api.WebhookEvent] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                event = json_format.Parse(body, api.WebhookEvent(), ignore_unknown_fields=True)
                receiver._events.setdefault(event.id, event)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def of(self, name: str, room: str = "") -> list[api.WebhookEvent]:
        """The events of that name, of one room or of all."""
        return [event for event in list(self._events.values()) if event.event == name and room in ("", event.room.name)]

    def close(self) -> None:
        self._server.shutdown()
