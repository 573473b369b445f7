"""What every HTTP door shares: the socket, its connections, and what is refused before a route."""
