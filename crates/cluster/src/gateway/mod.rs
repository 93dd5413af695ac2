//! What clients see of a master: TLS, HTTP, WebSocket and layer-4 bridges to the nodes.
