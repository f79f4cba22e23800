"""What an error of the Docker SDK means, and messages for users, limited and without secrets."""
