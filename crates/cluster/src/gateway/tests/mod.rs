mod challenges;
mod connections;
mod requests;
mod support;
mod websockets;
