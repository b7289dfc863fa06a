"""Ways of scoring the patches of images, one file each: what `rank --method` chooses from."""
