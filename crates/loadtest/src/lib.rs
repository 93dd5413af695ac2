//! A load generator: simulated clients that speak the LiveKit protocol over real sockets.
