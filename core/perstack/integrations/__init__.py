"""Services of others that are neither models nor tool servers: GitHub, Slack."""
