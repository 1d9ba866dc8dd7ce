"""What Tocsin costs: ``python -m bench`` (``make bench``); see README.md."""
