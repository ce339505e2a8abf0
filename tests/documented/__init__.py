"""What README.md and docs/ have their readers type is run as a reader would, page by page."""
