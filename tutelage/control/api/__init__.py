"""The admin plane: one noun per file, joined by the explicit table `ROUTERS` in app.py."""
