"""What the screen asks of the runtime and of the app, as Protocols and plain values."""
