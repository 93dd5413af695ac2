//! Webhooks: what happens in rooms, told to the application's server.
