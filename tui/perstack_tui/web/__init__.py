"""The cockpit in a browser on this machine."""
