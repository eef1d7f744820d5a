"""A tree to look at: pictures, Matplotlib figures, notebooks."""
