"""The base tools and MCP servers. Never: approval decisions."""
