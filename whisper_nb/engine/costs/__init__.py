"""What model calls may cost: reservations in a budget."""
