"""The calls that the gate passes on, and what it shows of the engine's answers."""
