"""What is shown in cells, and what waits in them."""
