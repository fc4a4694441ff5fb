"""What people do with a batch by hand: a plan shows itself, and is applied exactly or refused."""
