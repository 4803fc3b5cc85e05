"""What model calls may cost: reservations in a budget, and the limits of one run."""
