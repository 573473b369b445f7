"""MCP servers: processes spoken to over standard input and output, and servers at an address."""
