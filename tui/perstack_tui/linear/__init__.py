"""The cockpit without a screen: lines that are only ever added, for screen readers."""
