"""One file for each way of sharing work among processes."""
