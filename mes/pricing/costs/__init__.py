"""What a piece costs by a card: one cost model, for one item as for a million, and the table of unit costs."""
