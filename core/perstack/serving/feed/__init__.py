"""What happens in a workspace, whichever process does it, for any number of clients."""
