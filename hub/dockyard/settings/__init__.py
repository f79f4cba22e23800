"""What an operator may set: declarations, rules, sources, and the checks of `.env` and of the files that it names."""
