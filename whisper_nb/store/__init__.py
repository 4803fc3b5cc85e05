"""Where records are kept, and how observers get them."""
