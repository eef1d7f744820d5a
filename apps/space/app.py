"""The Hugging Face Space: the app of the package, with its defaults.

pip install -r requirements.txt && python app.py
"""

from pathlib import Path

from regiontree.plugins.gradio import make_app
from regiontree.plugins.gradio.command import launch_options

here = Path(__file__).parent
app = make_app(examples=sorted(here.glob("*.jpg")))

if __name__ == "__main__":
    app.launch(**{**launch_options("0.0.0.0", 7860), "quiet": False})
