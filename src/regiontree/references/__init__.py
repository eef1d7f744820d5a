"""Which photographs there are: lists of references, from folders to object stores."""
