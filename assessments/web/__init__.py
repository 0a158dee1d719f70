"""Pages: views by page, template tags, static files, and the commands that run the site."""
