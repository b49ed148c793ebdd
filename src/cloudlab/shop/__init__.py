"""The shop: the application that proves the platform, and the only place that knows what an order is."""
