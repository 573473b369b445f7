"""What the actions of the main screen do, a group a module."""
