"""The costs of model calls before they are made: reservations in a budget, and the limits of one run."""
