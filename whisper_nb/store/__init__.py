"""Stores of records, and observers that are called with each record."""
