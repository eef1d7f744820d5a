"""A web page on which a visitor's photograph falls apart into its regions, made with Gradio.

``regiontree app`` serves it on this machine, and ``apps/space`` on Hugging Face.
"""

from regiontree.plugins.gradio.application import make_app

__all__ = ["make_app"]
