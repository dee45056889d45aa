"""The console's pages; each has a `render` that `app.routes` calls."""
