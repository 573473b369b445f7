"""Claude, over Anthropic's Messages API and the clouds that serve it."""
