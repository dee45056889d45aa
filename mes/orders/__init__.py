"""Orders: their life, their tables, and the commands that change them."""
