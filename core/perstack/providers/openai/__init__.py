"""OpenAI's two protocols, and the vendors that speak the older one."""
