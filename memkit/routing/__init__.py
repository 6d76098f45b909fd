"""Which adapters answer a query, if any."""
