"""What happens in a workspace, whichever process does it, as one feed that can be resumed."""
