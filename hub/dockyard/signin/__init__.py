"""How users sign in: the authenticator that the settings choose, with its limits."""
