"""What `show` draws: scores from wherever they come, and the removal of a patch."""
