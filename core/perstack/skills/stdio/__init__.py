"""MCP servers started as processes and spoken to over their standard input and output."""
