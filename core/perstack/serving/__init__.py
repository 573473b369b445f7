"""What front doors for other programs share: one workspace, its services, its verbs."""
