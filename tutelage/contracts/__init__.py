"""What the parts agree on: nothing here does I/O except reading the configuration and the price table."""
