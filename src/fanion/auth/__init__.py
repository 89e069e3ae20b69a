"""Who may ask: API keys and request rates. How a key is carried and a refusal worded is the dialect's."""
