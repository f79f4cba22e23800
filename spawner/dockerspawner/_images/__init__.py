"""Images: references, which images a user may choose, pull policy and pull."""
