"""A generated shop with realistic models and orders, for demos and loads."""
