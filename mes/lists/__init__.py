"""The order list: read by key, refreshed from what is dirty."""
