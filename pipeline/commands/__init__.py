"""One command a file: options → settings → what does the work → exit status."""
