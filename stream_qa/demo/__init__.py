"""The whole thing in a minute: a real broker, a real worker, a marketplace's events, and what is learned of them."""
