"""What each command runs. Imported when it does, since it brings torch, Ray or Zarr along."""
