"""Snapshots of workspaces: contents by their digest, manifests that share what did not change."""
