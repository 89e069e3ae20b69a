"""Who may ask, and how much. How a key is carried and a refusal worded is the dialect's.

keys          API keys: made, hashed, told apart
key_use       when a key was last used
guesses       keys that nobody knows, by where they come from
limiter       request rates, counted over all workers
active_users  monthly active users, counted over all workers
governance    an organisation's state, rate and users, in an order
"""
