"""The status page, as HTML and in a browser."""
