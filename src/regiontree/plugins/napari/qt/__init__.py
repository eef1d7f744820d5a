"""The parts of the plugin that need a window: they import Qt, and work inside napari only."""
