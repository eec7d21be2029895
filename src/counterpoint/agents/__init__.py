"""The agents wing: language models that learn from what they did themselves, in words."""
