"""Work on many photographs: batches, and how processes and devices share them."""
