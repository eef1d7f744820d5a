"""Trees in a web browser: one page that stands alone, and a small server of such pages."""
