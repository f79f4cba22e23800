"""Networks of servers: addresses, a network per user and its subnet, the host's network, the link-local block."""
